/* AVX-512 with VNNI and BF16, attention in bfloat16: Cooper Lake, Sapphire Rapids, Zen 4, Zen 5. The body is
 * kernels_avx512.h. */
#define BGE_BF16
#include "kernels_avx512.h"

const bge_kernels bge_kernels_avx512bf16 = {
    .name = "avx512bf16", .class = &bge_class_vnni, .quantize = quantize, .norm = norm, .product = product,
    .attend = attend, .attention_bytes = attention_bytes, .dot = dot, .peak = peak,
};
