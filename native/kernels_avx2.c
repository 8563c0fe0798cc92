/* AVX2 with FMA: Haswell to Skylake, Zen 1 to 3.
 *
 * Without a dot-product instruction the plain way is vpmaddubsw, vpmaddwd by ones and vpaddd for 32 products: two
 * multiplies. Here two vpmaddubsw are added in 16 bits before one vpmaddwd: three multiplies for 64 products, a quarter
 * faster. So that 16 bits hold the sum, weights have codes within 42 and activations within 97 (bge_class_avx2); a scale
 * for every 64 inputs makes up for it. Measured on a Zen 3, one core, GOP/s for 1024 -> 1024: 205 with groups of 64, 221
 * of 128; ONNX Runtime's plain way 185; 16-bit activations with vpmaddwd alone, the most exact way, 158. RMSE of mini's
 * logits, simulated in numpy over 150 pairs: 0.06 to 0.08; 0.09; 0.106 (7-bit weights, a scale per token); 0.03.
 */
#include "vectors_256.h"

#include "floats.h"

enum { ROWS = 4, PANEL = 16 };

static inline __m256i four(const int8_t *codes) {
    int32_t x;
    memcpy(&x, codes, sizeof x);
    return _mm256_set1_epi32(x);
}

static inline __m256i eight(const uint8_t *weights) { return _mm256_loadu_si256((const __m256i *)weights); }

/* Four rows times a panel: activations, `stride` bytes from row to row, times weights (inputs/4, PANEL, 4) -> sums
 * (ROWS, PANEL). `last` is the last row that is there; rows past it repeat it. */
#define EACH_ROW(X) X(0) X(1) X(2) X(3)
#define POINT(r)                                                                                \
    size_t row##r = (size_t)row + bge_least(r, last);                                           \
    const int8_t *a##r = p->codes + row##r * p->inputs;                                         \
    const float *scale##r = p->scales + row##r * groups;                                        \
    const int32_t *start##r = p->starts + row##r * groups;
#define START(r) __m256i c##r = _mm256_set1_epi32(start##r[g]), d##r = c##r;
#define STEP(r) {                                                                               \
    __m256i x = four(a##r + i), y = four(a##r + i + 4), z;                                      \
    z = _mm256_add_epi16(_mm256_maddubs_epi16(eight(w), x), _mm256_maddubs_epi16(eight(w + 64), y)); \
    c##r = _mm256_add_epi32(c##r, _mm256_madd_epi16(z, ones));                                  \
    z = _mm256_add_epi16(_mm256_maddubs_epi16(eight(w + 32), x), _mm256_maddubs_epi16(eight(w + 96), y)); \
    d##r = _mm256_add_epi32(d##r, _mm256_madd_epi16(z, ones)); }
#define SCALE(r) {                                                                              \
    __m256 s = _mm256_set1_ps(scale##r[g]);                                                     \
    float *at = sums + r * PANEL;                                                               \
    v_store(at, v_fma(_mm256_cvtepi32_ps(c##r), v_mul(left, s), v_load(at)));                   \
    v_store(at + V, v_fma(_mm256_cvtepi32_ps(d##r), v_mul(right, s), v_load(at + V))); }
static __attribute__((noinline)) void tile(const bge_product *p, int row, int last, int panel, float *sums) {
    const int groups = bge_groups(p->inputs, p->group);
    const uint8_t *w = (const uint8_t *)p->matrix.codes + (size_t)panel * PANEL * p->inputs;
    const float *weight_scales = p->matrix.scales + (size_t)panel * PANEL * groups;
    const __m256i ones = _mm256_set1_epi16(1);
    EACH_ROW(POINT)
    memset(sums, 0, ROWS * PANEL * sizeof *sums);
    for (int g = 0, i = 0; g < groups; g++) {
        EACH_ROW(START)
        for (int end = bge_least(i + p->group, p->inputs); i < end; i += 8, w += 8 * PANEL) {
            EACH_ROW(STEP)
        }
        vf left = v_load(weight_scales + g * PANEL), right = v_load(weight_scales + g * PANEL + V);
        EACH_ROW(SCALE)
    }
}

static void product(const bge_class *class, const bge_product *p, int row, int rows, int panel) {
    (void)class;
    float sums[ROWS * PANEL] __attribute__((aligned(64)));
    for (int end = row + rows; row < end; row += ROWS) {
        int here = bge_least(ROWS, end - row);
        tile(p, row, here - 1, panel, sums);
        finish(p, row, here, panel, PANEL, sums);
    }
}

/* Loops of nothing but the products' instructions, on as many accumulators as hide their latency. The empty assembly
 * keeps the compiler from computing the same product once. */
static int64_t peak(int integer, int64_t rounds) {
    volatile int32_t sink;
    if (integer) {
        __m256i w = _mm256_set1_epi8(1), x = w, ones = _mm256_set1_epi16(1), c[8];
        for (int j = 0; j < 8; j++) c[j] = _mm256_setzero_si256();
        for (int64_t i = 0; i < rounds; i++) {
#pragma GCC unroll 8
            for (int j = 0; j < 8; j++) {
                __asm__ volatile("" : "+x"(w), "+x"(x));
                __m256i y = _mm256_maddubs_epi16(w, x);
                __asm__ volatile("" : "+x"(w), "+x"(x));
                y = _mm256_add_epi16(y, _mm256_maddubs_epi16(w, x));
                c[j] = _mm256_add_epi32(c[j], _mm256_madd_epi16(y, ones));
            }
        }
        for (int j = 1; j < 8; j++) c[0] = _mm256_add_epi32(c[0], c[j]);
        sink = _mm256_cvtsi256_si32(c[0]);
        (void)sink;
        return rounds * 8 * 64;
    }
    __m256 x = _mm256_set1_ps(1), c[12];
    for (int j = 0; j < 12; j++) c[j] = _mm256_setzero_ps();
    for (int64_t i = 0; i < rounds; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < 12; j++) {
            __asm__ volatile("" : "+x"(x));
            c[j] = _mm256_fmadd_ps(x, x, c[j]);
        }
    }
    for (int j = 1; j < 12; j++) c[0] = _mm256_add_ps(c[0], c[j]);
    sink = (int32_t)v_sum(c[0]);
    (void)sink;
    return rounds * 12 * 8;
}

const bge_kernels bge_kernels_avx2 = {
    .name = "avx2", .class = &bge_class_avx2, .quantize = quantize, .norm = norm, .product = product, .attend = attend,
    .attention_bytes = attention_bytes, .dot = dot, .peak = peak,
};
