/* floats.h's vectors of 16 floats: AVX-512 F, BW, DQ and VL; with BGE_BF16 attention multiplies pairs of bfloat16. */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

typedef __m512 vf;
#define V 16
#define v_load _mm512_loadu_ps
#define v_store _mm512_storeu_ps
#define v_set _mm512_set1_ps
#define v_add _mm512_add_ps
#define v_sub _mm512_sub_ps
#define v_mul _mm512_mul_ps
#define v_fma _mm512_fmadd_ps
#define v_max _mm512_max_ps
#define v_min _mm512_min_ps
#define v_float(p) _mm512_cvtepi32_ps(_mm512_loadu_si512(p))
#define v_round(x) _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)

static inline vf v_power(vf x, vf n) {
    __m512i exponent = _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23);
    return _mm512_mul_ps(x, _mm512_castsi512_ps(exponent));
}

static inline __m256 v_halves(vf x, int upper) {
    __m512d y = _mm512_castps_pd(x);
    return _mm256_castpd_ps(upper ? _mm512_extractf64x4_pd(y, 1) : _mm512_castpd512_pd256(y));
}

static inline float v_sum(vf x) {
    __m256 y = _mm256_add_ps(v_halves(x, 0), v_halves(x, 1));
    __m128 z = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_add_ps(z, _mm_movehl_ps(z, z));
    return _mm_cvtss_f32(_mm_add_ss(z, _mm_movehdup_ps(z)));
}

static inline float v_peak(vf x) {
    __m256 y = _mm256_max_ps(v_halves(x, 0), v_halves(x, 1));
    __m128 z = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_max_ps(z, _mm_movehl_ps(z, z));
    return _mm_cvtss_f32(_mm_max_ss(z, _mm_movehdup_ps(z)));
}

static inline float v_least(vf x) { return -v_peak(_mm512_sub_ps(_mm512_setzero_ps(), x)); }

static inline void v_store_codes(uint8_t *codes, vf x) {
    _mm_storeu_si128((__m128i *)codes, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
}

#ifdef BGE_BF16
/* A lane is two bfloat16, the even one below; float32 is rounded to them to nearest, ties to even. */
typedef uint32_t lane;
typedef __m512i vl;
#define PER_LANE 2
#define vl_load(p) _mm512_loadu_si512(p)
#define vl_set(p) _mm512_set1_epi32((int32_t) * (p))
#define v_dot(c, a, b) _mm512_dpbf16_ps(c, (__m512bh)(a), (__m512bh)(b))

static inline uint32_t bfloat16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static inline lane lane_of(float x, float y) { return bfloat16(x) | bfloat16(y) << 16; }
#else
typedef float lane;
typedef __m512 vl;
#define PER_LANE 1
#define vl_load _mm512_loadu_ps
#define vl_set(p) _mm512_set1_ps(*(p))
#define v_dot(c, a, b) _mm512_fmadd_ps(a, b, c)

static inline lane lane_of(float x, float y) { (void)y; return x; }
#endif

#define FLOAT_ROWS 12
#define EACH_FLOAT_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
