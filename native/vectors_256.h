/* floats.h's vectors of 8 floats: AVX2 with FMA. */
#include <immintrin.h>
#include <stdint.h>

typedef __m256 vf;
#define V 8
#define v_load _mm256_loadu_ps
#define v_store _mm256_storeu_ps
#define v_set _mm256_set1_ps
#define v_add _mm256_add_ps
#define v_sub _mm256_sub_ps
#define v_mul _mm256_mul_ps
#define v_fma _mm256_fmadd_ps
#define v_max _mm256_max_ps
#define v_min _mm256_min_ps
#define v_float(p) _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)(p)))
#define v_round(x) _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)

static inline vf v_power(vf x, vf n) {
    __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(x, _mm256_castsi256_ps(exponent));
}

static inline float v_sum(vf x) {
    __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_add_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
}

static inline float v_peak(vf x) {
    __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_max_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_max_ss(y, _mm_movehdup_ps(y)));
}

static inline float v_least(vf x) { return -v_peak(_mm256_xor_ps(x, _mm256_set1_ps(-0.0f))); }

static inline void v_store_codes(uint8_t *codes, vf x) {
    __m256i words = _mm256_cvtps_epi32(x);
    __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storel_epi64((__m128i *)codes, _mm_packus_epi16(halves, halves));
}

/* Attention in float32: a lane is one float. */
typedef float lane;
typedef __m256 vl;
#define PER_LANE 1
static inline lane lane_of(float x, float y) { (void)y; return x; }
#define vl_load _mm256_loadu_ps
#define vl_set _mm256_broadcast_ss
#define v_dot(c, a, b) _mm256_fmadd_ps(a, b, c)
#define FLOAT_ROWS 6
#define EACH_FLOAT_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
