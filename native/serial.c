/* The plain reference: what every kernel does, one number at a time. It reads every class of matrices. */
#include "kernels.h"

static void quantize(const bge_class *class, const float *x, int size, uint8_t *codes, float *scale, int32_t *zero) {
    float least = 0, most = 0, low = (float)class->low, span = (float)class->span;
    for (int i = 0; i < size; i++) {
        if (x[i] < least) least = x[i];
        if (x[i] > most) most = x[i];
    }
    int zeros = !(most - least >= BGE_SMALLEST_RANGE);
    float inverse = zeros ? 0 : span / (most - least), shift = low + rintf(-least * inverse);
    for (int i = 0; i < size; i++) {
        float code = rintf(fmaf(x[i], inverse, shift));
        code = code > low ? code : low;
        code = code < low + span ? code : low + span;
        codes[i] = (uint8_t)(int)code;
    }
    *scale = zeros ? 0 : (most - least) / span;
    *zero = (int32_t)shift;
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
    int width = class->panel, group = class->group ? class->group : p->inputs;
    int groups = (p->inputs + group - 1) / group;
    const int8_t *weights = p->matrix.codes + (size_t)panel * width * p->inputs;
    for (int r = row; r < row + rows; r++) {
        const uint8_t *codes = p->codes + (size_t)r * p->inputs;
        for (int c = 0; c < width; c++) {
            int output = panel * width + c;
            /* Unsigned, so that it may wrap on its way: the sum itself fits. */
            uint32_t sum = -(uint32_t)p->zeros[r] * (uint32_t)p->matrix.sums[output];
            for (int i = 0; i < p->inputs; i++) {
                int code = class->low < 0 ? (int8_t)codes[i] : codes[i];
                int weight = weights[((size_t)i / 4 * width + c) * 4 + i % 4], multiplier = 1;
                if (class->group) {
                    size_t place = ((size_t)panel * groups + i / group) * width + c;
                    multiplier = p->matrix.multipliers[place] & 0xffff;
                }
                sum += (uint32_t)(code * weight) * (uint32_t)multiplier;
            }
            float x = fmaf((float)(int32_t)sum, p->matrix.scales[output] * p->scales[r], p->matrix.bias[output]);
            size_t place = (size_t)r * p->outputs + output;
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
