/* AVX-VNNI: Alder Lake and newer CPUs of Intel's without AVX-512.
 *
 * vpdpbusd on 32 bytes: exact, as AVX-512's. A panel's 32 columns go in two halves, 6 rows at a time.
 *
 * Written and tested on a machine without AVX-VNNI, in emulation (make test-native): correct, but its speed has not been
 * measured.
 */
#include "vectors_256.h"

#include "floats.h"

enum { ROWS = 6, PANEL = 32, HALF = 16 };

static inline __m256i four(const uint8_t *codes) {
    int32_t x;
    memcpy(&x, codes, sizeof x);
    return _mm256_set1_epi32(x);
}

static inline __m256i load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }

/* Six rows times half a panel: activations, (ROWS, inputs), times weights, (inputs/4, PANEL, 4) -> sums, (ROWS, PANEL).
 * `last` is the last row that is there; rows past it repeat it. */
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
#define START(r)                                                                        \
    const uint8_t *a##r = p->codes + ((size_t)row + bge_least(r, last)) * p->inputs;    \
    __m256i c##r = _mm256_set1_epi32(-p->zeros[row + bge_least(r, last)]), d##r = c##r; \
    c##r = _mm256_mullo_epi32(c##r, load(p->matrix.sums + panel * PANEL + half));       \
    d##r = _mm256_mullo_epi32(d##r, load(p->matrix.sums + panel * PANEL + half + 8));
#define STEP(r) {                                                                       \
    __m256i x = four(a##r + i);                                                         \
    c##r = _mm256_dpbusd_avx_epi32(c##r, x, left);                                      \
    d##r = _mm256_dpbusd_avx_epi32(d##r, x, right); }
#define KEEP(r)                                                                         \
    _mm256_storeu_si256((__m256i *)(sums + half + r * PANEL), c##r);                    \
    _mm256_storeu_si256((__m256i *)(sums + half + r * PANEL + 8), d##r);
static __attribute__((noinline)) void tile(const bge_product *p, int row, int last, int panel, int half, int32_t *sums) {
    const int8_t *w = p->matrix.codes + (size_t)panel * PANEL * p->inputs + (size_t)half * 4;
    EACH_ROW(START)
    for (int i = 0; i < p->inputs; i += 4, w += 4 * PANEL) {
        const __m256i left = load(w), right = load(w + 32);
        EACH_ROW(STEP)
    }
    EACH_ROW(KEEP)
}

static void product(const bge_class *class, const bge_product *p, int row, int rows, int panel) {
    (void)class;
    int32_t sums[ROWS * PANEL] __attribute__((aligned(64)));
    for (int end = row + rows; row < end; row += ROWS) {
        int here = bge_least(ROWS, end - row);
        for (int half = 0; half < PANEL; half += HALF) tile(p, row, here - 1, panel, half, sums);
        finish(p, row, here, panel, PANEL, sums);
    }
}

/* Loops of nothing but the products' instructions, as in kernels_avx2.c. */
static int64_t peak(int integer, int64_t rounds) {
    volatile int32_t sink;
    if (integer) {
        __m256i x = _mm256_set1_epi8(1), c[12];
        for (int j = 0; j < 12; j++) c[j] = _mm256_set1_epi32(j);
        for (int64_t i = 0; i < rounds; i++) {
#pragma GCC unroll 12
            for (int j = 0; j < 12; j++) c[j] = _mm256_dpbusd_avx_epi32(c[j], x, x);
        }
        for (int j = 1; j < 12; j++) c[0] = _mm256_add_epi32(c[0], c[j]);
        sink = _mm256_cvtsi256_si32(c[0]);
        (void)sink;
        return rounds * 12 * 32;
    }
    vf x = v_set(1), c[12];
    for (int j = 0; j < 12; j++) c[j] = v_set((float)j);
    for (int64_t i = 0; i < rounds; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < 12; j++) c[j] = v_fma(x, x, c[j]);
    }
    for (int j = 1; j < 12; j++) c[0] = v_add(c[0], c[j]);
    sink = (int32_t)v_sum(c[0]);
    (void)sink;
    return rounds * 12 * 8;
}

const bge_kernels bge_kernels_avxvnni = {
    .name = "avxvnni", .class = &bge_class_vnni, .quantize = quantize, .norm = norm, .product = product,
    .attend = attend, .attention_bytes = attention_bytes, .dot = dot, .peak = peak,
};
