/* Put in front of an x86 kernel file (-include): the instructions that this machine lacks, in plain C by SIMDe
 * (https://github.com/simd-everywhere/simde, Debian's libsimde-dev), under their own names; and what SIMDe lacks. */
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline simde__m512i bge_dpbusd_512(simde__m512i sums, simde__m512i codes, simde__m512i weights) {
    int32_t s[16];
    uint8_t c[64];
    int8_t w[64];
    memcpy(s, &sums, 64);
    memcpy(c, &codes, 64);
    memcpy(w, &weights, 64);
    for (int i = 0; i < 64; i++) s[i / 4] = (int32_t)((uint32_t)s[i / 4] + (uint32_t)(c[i] * w[i]));
    memcpy(&sums, s, 64);
    return sums;
}

static inline simde__m256i bge_dpbusd_256(simde__m256i sums, simde__m256i codes, simde__m256i weights) {
    int32_t s[8];
    uint8_t c[32];
    int8_t w[32];
    memcpy(s, &sums, 32);
    memcpy(c, &codes, 32);
    memcpy(w, &weights, 32);
    for (int i = 0; i < 32; i++) s[i / 4] = (int32_t)((uint32_t)s[i / 4] + (uint32_t)(c[i] * w[i]));
    memcpy(&sums, s, 32);
    return sums;
}

/* As the processor does it but for denormals: the odd product first, each step rounded to float32. */
static inline simde__m512 bge_dpbf16(simde__m512 sums, simde__m512i left, simde__m512i right) {
    float s[16];
    uint32_t a[16], b[16];
    memcpy(s, &sums, 64);
    memcpy(a, &left, 64);
    memcpy(b, &right, 64);
    for (int i = 0; i < 16; i++) {
        for (int upper = 1; upper >= 0; upper--) {
            uint32_t x = upper ? a[i] & 0xffff0000u : a[i] << 16, y = upper ? b[i] & 0xffff0000u : b[i] << 16;
            float p, q;
            memcpy(&p, &x, 4);
            memcpy(&q, &y, 4);
            s[i] = fmaf(p, q, s[i]);
        }
    }
    memcpy(&sums, s, 64);
    return sums;
}

static inline simde__m128i bge_cvtepi32_epi8(simde__m512i words) {
    int32_t w[16];
    int8_t b[16];
    simde__m128i out;
    memcpy(w, &words, 64);
    for (int i = 0; i < 16; i++) b[i] = (int8_t)(uint8_t)(uint32_t)w[i];
    memcpy(&out, b, 16);
    return out;
}

static inline simde__m512i bge_cvtps_epi32(simde__m512 x) {
    float f[16];
    int32_t w[16];
    simde__m512i out;
    memcpy(f, &x, 64);
    for (int i = 0; i < 16; i++) w[i] = fabsf(f[i]) < 2147483648.0f ? (int32_t)rintf(f[i]) : INT32_MIN;
    memcpy(&out, w, 64);
    return out;
}

static inline simde__m512 bge_cvtepi32_ps(simde__m512i words) {
    float f[16];
    int32_t w[16];
    simde__m512 out;
    memcpy(w, &words, 64);
    for (int i = 0; i < 16; i++) f[i] = (float)w[i];
    memcpy(&out, f, 64);
    return out;
}

#undef _mm512_dpbusd_epi32
#undef _mm512_dpbf16_ps
#undef _mm512_cvtepi32_epi8
#undef _mm512_cvtps_epi32
#define _mm512_dpbusd_epi32 bge_dpbusd_512
#define _mm256_dpbusd_avx_epi32 bge_dpbusd_256
#define _mm512_dpbf16_ps(c, a, b) bge_dpbf16(c, a, b)
#define __m512bh simde__m512i
#define _mm512_cvtepi32_epi8 bge_cvtepi32_epi8
#define _mm512_cvtps_epi32 bge_cvtps_epi32
#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps bge_cvtepi32_ps
