/* Which kernels were compiled in, which of them this CPU runs, and the classes of matrices that they read. */
#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

/* vpdpbusd takes unsigned times signed bytes and never saturates. */
const bge_class bge_class_vnni = {"vnni", .panel = 32, .group = 0, .weight_limit = 127, .low = 0, .span = 254};
/* AVX2 adds four products in 16 bits: 4 x 42 x 194 = 32,592, just under what they hold. */
const bge_class bge_class_avx2 = {"avx2", .panel = 16, .group = 64, .weight_limit = 42, .low = 0, .span = 194};
/* arm64's sdot takes signed bytes only. */
const bge_class bge_class_neon = {"neon", .panel = 16, .group = 0, .weight_limit = 127, .low = -127, .span = 254};

static const bge_class *const classes[] = {&bge_class_vnni, &bge_class_avx2, &bge_class_neon};

/* Fastest first. A build sets BGE_WITHOUT_<FILE> for a file that its compiler cannot compile. */
static const bge_kernels *const kernels[] = {
#if defined(__x86_64__) || defined(BGE_EMULATED)
#ifndef BGE_WITHOUT_AVX512BF16
    &bge_kernels_avx512bf16,
#endif
#ifndef BGE_WITHOUT_AVX512VNNI
    &bge_kernels_avx512vnni,
#endif
#ifndef BGE_WITHOUT_AVXVNNI
    &bge_kernels_avxvnni,
#endif
#ifndef BGE_WITHOUT_AVX2
    &bge_kernels_avx2,
#endif
#elif defined(__aarch64__)
#ifndef BGE_WITHOUT_NEON
    &bge_kernels_neon,
#endif
#endif
    &bge_kernels_serial,
};

#if defined(__x86_64__)
/* The registers' upper halves must be saved by the operating system, too: XCR0 says so. */
__attribute__((target("xsave"))) static uint64_t saved_state(void) { return _xgetbv(0); }

enum { AVX2 = 1, AVXVNNI = 2, AVX512VNNI = 4, AVX512BF16 = 8 };

static int found(void) {
    unsigned a, b, c, d, leaf7_b, leaf7_c, leaf7_1_a = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 27)) return 0; /* OSXSAVE */
    unsigned fma_f16c_avx = 1u << 12 | 1u << 29 | 1u << 28;
    if ((c & fma_f16c_avx) != fma_f16c_avx || (saved_state() & 6) != 6) return 0;
    if (!__get_cpuid_count(7, 0, &a, &leaf7_b, &leaf7_c, &d)) return 0;
    if (a >= 1) __get_cpuid_count(7, 1, &leaf7_1_a, &b, &c, &d);
    int here = leaf7_b & 1u << 5 ? AVX2 : 0;
    if (here && leaf7_1_a & 1u << 4) here |= AVXVNNI;
    unsigned f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    if ((leaf7_b & f_dq_bw_vl) == f_dq_bw_vl && (saved_state() & 0xe6) == 0xe6 && leaf7_c & 1u << 11) {
        here |= AVX512VNNI;
        if (leaf7_1_a & 1u << 5) here |= AVX512BF16;
    }
    return here;
}
#endif

int bge_kernels_run_here(const bge_kernels *k) {
    if (!strcmp(k->name, "serial")) return 1;
#if defined(BGE_EMULATED)
    return 1;
#elif defined(__x86_64__)
    int here = found();
    if (!strcmp(k->name, "avx2")) return !!(here & AVX2);
    if (!strcmp(k->name, "avxvnni")) return !!(here & AVXVNNI);
    if (!strcmp(k->name, "avx512vnni")) return !!(here & AVX512VNNI);
    if (!strcmp(k->name, "avx512bf16")) return !!(here & AVX512BF16);
#elif defined(__aarch64__) && defined(__linux__)
    return !!(getauxval(AT_HWCAP) & 1ul << 20); /* HWCAP_ASIMDDP */
#elif defined(__aarch64__) && defined(__APPLE__)
    return 1;
#endif
    return 0;
}

const bge_kernels *bge_kernels_at(int index) {
    return index >= 0 && index < (int)(sizeof kernels / sizeof *kernels) ? kernels[index] : NULL;
}

const bge_kernels *bge_kernels_named(const char *name) {
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        if (!strcmp(kernels[i]->name, name)) return kernels[i];
    return NULL;
}

const bge_class *bge_class_named(const char *name) {
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (!strcmp(classes[i]->name, name)) return classes[i];
    return NULL;
}

const char *bge_kernels_name(const bge_kernels *k) { return k->name; }
const bge_class *bge_kernels_class(const bge_kernels *k) { return k->class; }
