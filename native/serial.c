/* The plain reference: what every kernel does, one number at a time. It reads every class of matrices. */
#include "kernels.h"

static void quantize(const bge_class *class, const float *x, int inputs, int group, int8_t *codes, float *scales,
                     int32_t *starts) {
    for (int begin = 0; begin < inputs; begin += group) {
        int end = bge_least(begin + group, inputs);
        float peak = 0;
        for (int i = begin; i < end; i++) peak = fabsf(x[i]) > peak ? fabsf(x[i]) : peak;
        int zeros = !(peak >= BGE_SMALLEST_PEAK);
        float inverse = zeros ? 0 : (float)class->input_limit / peak;
        int32_t sum = 0;
        for (int i = begin; i < end; i++) {
            float code = rintf(x[i] * inverse);
            codes[i] = (int8_t)(fabsf(code) <= 127 ? code : 0);
            sum += codes[i];
        }
        *scales++ = zeros ? 0 : peak / (float)class->input_limit;
        *starts++ = -class->offset * sum;
    }
}

static void norm(const float *x, const float *weight, const float *bias, float epsilon, int size, float *out) {
    double sum = 0, squares = 0;
    for (int i = 0; i < size; i++) sum += x[i];
    float mean = (float)(sum / size);
    for (int i = 0; i < size; i++) squares += (double)(x[i] - mean) * (x[i] - mean);
    float scale = 1 / sqrtf((float)(squares / size) + epsilon);
    for (int i = 0; i < size; i++) out[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

static float gelu(float x) { return 0.5f * x * (1 + erff(x * 0.70710678f)); }

static void product(const bge_class *class, const bge_product *p, int row, int rows, int panel) {
    int width = class->panel, groups = bge_groups(p->inputs, p->group);
    const uint8_t *weights = (const uint8_t *)p->matrix.codes + (size_t)panel * width * p->inputs;
    const float *weight_scales = p->matrix.scales + (size_t)panel * width * groups;
    for (int r = row; r < row + rows; r++) {
        for (int c = 0; c < width; c++) {
            const int8_t *codes = p->codes + (size_t)r * p->inputs;
            float x = 0;
            for (int g = 0; g < groups; g++) {
                int32_t sum = p->starts[(size_t)r * groups + g];
                for (int i = g * p->group; i < bge_least((g + 1) * p->group, p->inputs); i++) {
                    uint8_t weight = weights[((size_t)i / 4 * width + c) * 4 + i % 4];
                    sum += codes[i] * (class->offset ? (int)weight : (int)(int8_t)weight);
                }
                x = fmaf((float)sum, weight_scales[g * width + c] * p->scales[(size_t)r * groups + g], x);
            }
            size_t place = (size_t)r * p->outputs + (size_t)panel * width + c;
            x += p->matrix.bias[panel * width + c];
            if (p->gelu) x = gelu(x);
            p->out[place] = p->residual ? x + p->residual[place] : x;
        }
    }
}

static void attend(const bge_attention *a, int head, int query, int queries, void *memory) {
    float *scores = memory;
    for (int i = query; i < query + queries; i++) {
        const float *q = a->query + i * a->width + (size_t)head * a->size;
        float *out = a->out + i * a->width + (size_t)head * a->size, peak = -INFINITY, sum = 0;
        for (int j = 0; j < a->tokens; j++) {
            const float *k = a->key + j * a->width + (size_t)head * a->size;
            scores[j] = 0;
            for (int d = 0; d < a->size; d++) scores[j] += q[d] * k[d];
            scores[j] /= sqrtf((float)a->size);
            if (scores[j] > peak) peak = scores[j];
        }
        memset(out, 0, (size_t)a->size * sizeof *out);
        for (int j = 0; j < a->tokens; j++) {
            const float *v = a->value + j * a->width + (size_t)head * a->size;
            float weight = expf(scores[j] - peak);
            sum += weight;
            for (int d = 0; d < a->size; d++) out[d] += weight * v[d];
        }
        for (int d = 0; d < a->size; d++) out[d] /= sum;
    }
}

static size_t attention_bytes(const bge_attention *a) { return (size_t)a->tokens * sizeof(float); }

static float dot(const float *x, const float *y, int size) {
    double sum = 0;
    for (int i = 0; i < size; i++) sum += (double)x[i] * y[i];
    return (float)sum;
}

static int64_t peak(int integer, int64_t rounds) {
    volatile int32_t one = 1;
    int32_t sum = 0;
    for (int64_t i = 0; i < rounds; i++) sum += one * one;
    return integer && sum < 0 ? 0 : rounds;
}

const bge_kernels bge_kernels_serial = {
    .name = "serial", .class = NULL, .quantize = quantize, .norm = norm, .product = product, .attend = attend,
    .attention_bytes = attention_bytes, .dot = dot, .peak = peak,
};
