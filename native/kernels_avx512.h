/* AVX-512 with VNNI: the body of kernels_avx512vnni.c and kernels_avx512bf16.c, which differ in attention only.
 *
 * vpdpbusd multiplies 64 unsigned by signed bytes and adds them up in 32 bits, exactly. A tile of 12 rows and 32 columns
 * keeps 24 sums in registers; for it, 32 columns of 1,024 inputs lie in the first-level cache, so longer rows go in
 * blocks. The tile stores its sums, and what follows them is a function of its own: gcc 12 spills where both are one.
 *
 * Written and tested on a machine without AVX-512, in emulation (make test-native): correct, but its speed has not been
 * measured. The recipe is that of a prototype that was (94 % of the instruction's peak on a Zen 4).
 */
#include "vectors_512.h"

#include "floats.h"

enum { ROWS = 12, PANEL = 32, BLOCK = 1024, MOST_ROWS = 252 };

static inline __m512i four(const uint8_t *codes) {
    int32_t x;
    memcpy(&x, codes, sizeof x);
    return _mm512_set1_epi32(x);
}

/* Some rows times a panel, from `begin` to `end` of the inputs: activations, (rows, inputs), times weights,
 * (inputs/4, PANEL, 4), added to sums, (rows, PANEL). Rows past `last` repeat it. */
#define TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define FOUR(X) X(0) X(1) X(2) X(3)
#define START(r)                                                                                \
    const uint8_t *a##r = p->codes + ((size_t)row + bge_least(r, last)) * p->inputs;            \
    __m512i c##r = _mm512_loadu_si512(sums + r * PANEL), d##r = _mm512_loadu_si512(sums + r * PANEL + 16);
#define STEP(r) {                                                                               \
    __m512i x = four(a##r + i);                                                                 \
    c##r = _mm512_dpbusd_epi32(c##r, x, left);                                                  \
    d##r = _mm512_dpbusd_epi32(d##r, x, right); }
#define KEEP(r)                                                                                 \
    _mm512_storeu_si512(sums + r * PANEL, c##r);                                                \
    _mm512_storeu_si512(sums + r * PANEL + 16, d##r);
#define TILE(name, EACH_ROW)                                                                    \
    static __attribute__((noinline)) void name(const bge_product *p, int row, int last, int panel, int begin, int end, \
                                               int32_t *sums) {                                 \
        const int8_t *w = p->matrix.codes + (size_t)panel * PANEL * p->inputs + (size_t)begin * PANEL; \
        EACH_ROW(START)                                                                         \
        for (int i = begin; i < end; i += 4, w += 4 * PANEL) {                                  \
            const __m512i left = _mm512_loadu_si512(w), right = _mm512_loadu_si512(w + 64);     \
            EACH_ROW(STEP)                                                                      \
        }                                                                                       \
        EACH_ROW(KEEP)                                                                          \
    }
TILE(twelve_rows, TWELVE)
TILE(four_rows, FOUR)

static void product(const bge_class *class, const bge_product *p, int row, int rows, int panel) {
    (void)class;
    int32_t sums[MOST_ROWS * PANEL] __attribute__((aligned(64)));
    for (int end = row + rows; row < end; row += MOST_ROWS) {
        int here = bge_least(MOST_ROWS, end - row);
        __m512i left = _mm512_loadu_si512(p->matrix.sums + panel * PANEL);
        __m512i right = _mm512_loadu_si512(p->matrix.sums + panel * PANEL + 16);
        for (int r = 0; r < here; r++) {
            __m512i zero = _mm512_set1_epi32(-p->zeros[row + r]);
            _mm512_store_si512(sums + r * PANEL, _mm512_mullo_epi32(zero, left));
            _mm512_store_si512(sums + r * PANEL + 16, _mm512_mullo_epi32(zero, right));
        }
        for (int begin = 0; begin < p->inputs; begin += BLOCK) {
            int block_end = bge_least(begin + BLOCK, p->inputs);
            for (int r = 0; r < here;) {
                int left_over = here - r;
                if (left_over > 8) {
                    twelve_rows(p, row + r, bge_least(ROWS, left_over) - 1, panel, begin, block_end, sums + r * PANEL);
                    r += ROWS;
                } else {
                    four_rows(p, row + r, bge_least(4, left_over) - 1, panel, begin, block_end, sums + r * PANEL);
                    r += 4;
                }
            }
        }
        finish(p, row, here, panel, PANEL, sums);
    }
}

/* Loops of nothing but the products' instructions, as in kernels_avx2.c. */
static int64_t peak(int integer, int64_t rounds) {
    volatile int32_t sink;
    if (integer) {
        __m512i x = _mm512_set1_epi8(1), c[16];
        for (int j = 0; j < 16; j++) c[j] = _mm512_set1_epi32(j);
        for (int64_t i = 0; i < rounds; i++) {
#pragma GCC unroll 16
            for (int j = 0; j < 16; j++) c[j] = _mm512_dpbusd_epi32(c[j], x, x);
        }
        for (int j = 1; j < 16; j++) c[0] = _mm512_add_epi32(c[0], c[j]);
        sink = _mm_cvtsi128_si32(_mm512_castsi512_si128(c[0]));
        (void)sink;
        return rounds * 16 * 64;
    }
    float ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    vl x = vl_load((const lane *)ones);
    vf c[16];
    for (int j = 0; j < 16; j++) c[j] = v_set((float)j);
    for (int64_t i = 0; i < rounds; i++) {
#pragma GCC unroll 16
        for (int j = 0; j < 16; j++) c[j] = v_dot(c[j], x, x);
    }
    for (int j = 1; j < 16; j++) c[0] = v_add(c[0], c[j]);
    sink = v_sum(c[0]) > 0;
    (void)sink;
    return rounds * 16 * 16 * PER_LANE;
}
