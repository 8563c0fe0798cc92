/* AVX2 with FMA: Haswell to Skylake, Zen 1 to 3.
 *
 * Without a dot-product instruction the plain way is vpmaddubsw, vpmaddwd by ones and vpaddd for 32 products: two
 * multiplies. Here two vpmaddubsw are added in 16 bits before one vpmaddwd: three multiplies for 64 products, a quarter
 * faster. So that 16 bits hold the sum, weights have codes within 42 and activations within 0 to 194. What that loses
 * comes back at no cost: vpmaddwd does not multiply by ones, but by a whole number for every output and 64 inputs, so
 * that groups of weights have scales of their own; and a zero point for every token halves the activations' steps where
 * they lean to one side, as after Gelu.
 *
 * Measured on a Zen 3, one core, GOP/s for 1024 -> 1024: 222 of a peak of 246 (ONNX Runtime's plain way 185); 16-bit
 * activations with vpmaddwd alone, the most exact way, 158; float scales for every 64 inputs of weights and activations,
 * 200. RMSE of mini's logits over 400 pairs of trec_dl19: 0.081; ONNX Runtime's INT8 as it runs on such CPUs (7-bit
 * weights, a scale for every token) 0.096, with 8-bit weights 0.077, both simulated in numpy. Blocks of 1,024 or 2,048
 * inputs, as in kernels_avx512.h, were tried: no faster.
 */
#include "vectors_256.h"

#include "floats.h"

enum { ROWS = 4, PANEL = 16, GROUP = 64 };

static inline __m256i four(const uint8_t *codes) {
    int32_t x;
    memcpy(&x, codes, sizeof x);
    return _mm256_set1_epi32(x);
}

static inline __m256i load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }

/* Four rows times a panel: activations, (ROWS, inputs), times weights, (inputs/4, PANEL, 4) -> sums, (ROWS, PANEL).
 * `last` is the last row that is there; rows past it repeat it. */
#define EACH_ROW(X) X(0) X(1) X(2) X(3)
#define START(r)                                                                                        \
    const uint8_t *a##r = p->codes + ((size_t)row + bge_least(r, last)) * p->inputs;                    \
    __m256i c##r = _mm256_set1_epi32(-p->zeros[row + bge_least(r, last)]), d##r = c##r;                 \
    c##r = _mm256_mullo_epi32(c##r, load(p->matrix.sums + panel * PANEL));                              \
    d##r = _mm256_mullo_epi32(d##r, load(p->matrix.sums + panel * PANEL + 8));
#define STEP(r) {                                                                                       \
    __m256i x = four(a##r + i), y = four(a##r + i + 4), z;                                              \
    z = _mm256_add_epi16(_mm256_maddubs_epi16(x, load(w)), _mm256_maddubs_epi16(y, load(w + 64)));      \
    c##r = _mm256_add_epi32(c##r, _mm256_madd_epi16(z, left));                                          \
    z = _mm256_add_epi16(_mm256_maddubs_epi16(x, load(w + 32)), _mm256_maddubs_epi16(y, load(w + 96))); \
    d##r = _mm256_add_epi32(d##r, _mm256_madd_epi16(z, right)); }
#define KEEP(r)                                                                                         \
    _mm256_storeu_si256((__m256i *)(sums + r * PANEL), c##r);                                           \
    _mm256_storeu_si256((__m256i *)(sums + r * PANEL + 8), d##r);
static __attribute__((noinline)) void tile(const bge_product *p, int row, int last, int panel, int32_t *sums) {
    const int inputs = p->inputs, groups = (inputs + GROUP - 1) / GROUP;
    const int8_t *w = p->matrix.codes + (size_t)panel * PANEL * inputs;
    const int32_t *multipliers = p->matrix.multipliers + (size_t)panel * PANEL * groups;
    EACH_ROW(START)
    for (int i = 0; i < inputs; multipliers += PANEL) {
        const __m256i left = load(multipliers), right = load(multipliers + 8);
        for (int end = bge_least(i + GROUP, inputs); i < end; i += 8, w += 8 * PANEL) {
            EACH_ROW(STEP)
        }
    }
    EACH_ROW(KEEP)
}

static void product(const bge_class *class, const bge_product *p, int row, int rows, int panel) {
    (void)class;
    int32_t sums[ROWS * PANEL] __attribute__((aligned(64)));
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
        for (int j = 0; j < 8; j++) c[j] = _mm256_set1_epi32(j);
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
    for (int j = 0; j < 12; j++) c[j] = _mm256_set1_ps((float)j);
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
