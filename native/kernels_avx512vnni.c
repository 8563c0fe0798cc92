/* AVX-512 with VNNI, attention in float32: Cascade Lake, Ice Lake. The body is kernels_avx512.h. */
#include "kernels_avx512.h"

const bge_kernels bge_kernels_avx512vnni = {
    .name = "avx512vnni", .class = &bge_class_vnni, .quantize = quantize, .norm = norm, .product = product,
    .attend = attend, .attention_bytes = attention_bytes, .dot = dot, .peak = peak,
};
