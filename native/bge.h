/* The native kernels of bge-cpu: a BERT-like cross-encoder in INT8, without padding, on plain CPUs.
 *
 * A run is a few pairs, their tokens one pair after the other; its result is one logit a pair. The library opens no
 * files: the caller maps the weights and fills in a `bge_model` with pointers to them. Nothing is kept between runs but
 * the memory of a `bge_scratch`, which one thread uses at a time. A pair's logit has the same bits alone and in any
 * company, from any thread, with any number of helpers.
 *
 * Matrices are INT8 with a scale for every output; activations are INT8 with a scale and a zero point for every token.
 * Products add up in whole numbers, exactly.
 */
#ifndef BGE_H
#define BGE_H

#include <stdatomic.h>
#include <stdint.h>

#if defined(__GNUC__)
#define BGE_API __attribute__((visibility("default")))
#else
#define BGE_API
#endif

enum {
    BGE_OK = 0,
    BGE_BAD_MODEL = 1,  /* a size that the kernels do not run, or kernels that do not read this class of matrices */
    BGE_BAD_INPUT = 2,  /* an id, a type or a position outside its table, or bounds that do not rise */
    BGE_NO_MEMORY = 3,
    BGE_CANCELLED = 4,
};

/* How the codes of a matrix lie in memory, and how large codes may grow: what an artifact is made for. */
typedef struct {
    const char *name;
    int32_t panel;        /* outputs that lie together */
    int32_t group;        /* inputs that share a multiplier; 0: there are none */
    int32_t weight_limit; /* the largest magnitude of a weight's code */
    int32_t low, span;    /* an activation's code is one of low, low+1, ... low+span */
} bge_class;

/* A weight is its code times its output's scale and, where the class has multipliers, that of its group of inputs. */
typedef struct {
    const int8_t *codes;        /* (outputs/panel, inputs/4, panel, 4) */
    const int32_t *multipliers; /* (outputs/panel, groups, panel), each twice, in both halves of 32 bits; or NULL */
    const int32_t *sums;        /* (outputs): of an output's codes times their multipliers */
    const float *scales;        /* (outputs) */
    const float *bias;          /* (outputs) */
} bge_matrix;

typedef struct {
    bge_matrix query, key, value;  /* hidden -> hidden */
    bge_matrix output;             /* hidden -> hidden */
    bge_matrix wide;               /* hidden -> intermediate */
    bge_matrix narrow;             /* intermediate -> hidden */
    const float *attention_norm, *attention_norm_bias;  /* (hidden) */
    const float *norm, *norm_bias;                      /* (hidden) */
} bge_layer;

typedef struct {
    int32_t hidden, layers, heads, intermediate;
    int32_t vocabulary, positions, types;
    float epsilon;
    const int8_t *words;                     /* (vocabulary, hidden) */
    const float *word_scales;                /* (vocabulary) */
    const float *position_table;             /* (positions, hidden) */
    const float *type_table;                 /* (types, hidden) */
    const float *norm, *norm_bias;           /* (hidden) */
    const bge_layer *layer;                  /* (layers) */
    const float *head, *head_bias;           /* (hidden, hidden), (hidden) */
    const float *label, *label_bias;         /* (hidden), (1) */
} bge_model;

typedef struct {
    int32_t pairs;
    const int32_t *input_ids, *token_type_ids, *position_ids;  /* (tokens) */
    const int32_t *cu_seqlens;                                 /* (pairs+1): where each pair begins, and the end */
} bge_run;

typedef struct bge_kernels bge_kernels;
typedef struct bge_scratch bge_scratch;
typedef struct bge_team bge_team;

/* Kernels: what was compiled in, fastest first, "serial" last. */
BGE_API const bge_kernels *bge_kernels_at(int index);           /* NULL past the end */
BGE_API const bge_kernels *bge_kernels_named(const char *name); /* NULL for a name that was not compiled in */
BGE_API const char *bge_kernels_name(const bge_kernels *kernels);
BGE_API int bge_kernels_run_here(const bge_kernels *kernels);   /* whether this CPU has their instructions */
BGE_API const bge_class *bge_kernels_class(const bge_kernels *kernels); /* NULL for "serial": it reads every class */
BGE_API const bge_class *bge_class_named(const char *name);

/* A thread's memory. It grows to the longest run seen, and no further. */
BGE_API bge_scratch *bge_scratch_new(void);
BGE_API void bge_scratch_free(bge_scratch *scratch);
BGE_API int64_t bge_scratch_bytes(const bge_scratch *scratch);

/* The logits of a run, (pairs). `team` and `cancel` may be NULL; `cancel` is looked at between layers. */
BGE_API int bge_forward(const bge_kernels *kernels, const bge_class *class, const bge_model *model, const bge_run *run,
                        bge_scratch *scratch, bge_team *team, const _Atomic int32_t *cancel, float *logits);

/* Idle threads help the forward passes of their team. `bge_help` returns once no pass is under way, or at the next
 * `bge_team_recall`. `recalls` is what `bge_team_recalls` said when the thread was found idle: if it has been recalled
 * since, it does not begin. The scratch is the helper's own. Returns how many parts it did. */
BGE_API bge_team *bge_team_new(void);
BGE_API void bge_team_free(bge_team *team); /* once nobody uses it */
BGE_API void bge_team_begin(bge_team *team); /* a pass is about to begin: helpers stay for it ... */
BGE_API void bge_team_end(bge_team *team);   /* ... until it is over */
BGE_API uint32_t bge_team_recalls(bge_team *team);
BGE_API void bge_team_recall(bge_team *team);
BGE_API int64_t bge_help(bge_team *team, bge_scratch *scratch, uint32_t recalls);

/* One kernel at a time, for tests and benchmarks. */
typedef struct {
    const uint8_t *codes;   /* activations, (rows, inputs); signed bytes where the class's codes are */
    const float *scales;    /* (rows) */
    const int32_t *zeros;   /* (rows): the code of 0 */
    int32_t inputs, outputs;
    bge_matrix matrix;
    float *out;             /* (rows, outputs) */
    const float *residual;  /* (rows, outputs), added at the end, or NULL */
    int32_t gelu;           /* whether Gelu is applied after the bias */
} bge_product;

typedef struct {
    const float *query, *key, *value;  /* (queries, width), (tokens, width) twice: rows of all heads */
    float *out;                        /* (queries, width) */
    int64_t width;
    int32_t queries, tokens, size;     /* `size`: the width of one head */
} bge_attention;

BGE_API void bge_quantize(const bge_kernels *kernels, const bge_class *class, const float *x, int32_t size,
                          uint8_t *codes, float *scale, int32_t *zero);
BGE_API void bge_norm(const bge_kernels *kernels, const float *x, const float *weight, const float *bias, float epsilon,
                      int32_t size, float *out);
BGE_API void bge_multiply(const bge_kernels *kernels, const bge_class *class, const bge_product *product, int32_t rows);
BGE_API int bge_attend(const bge_kernels *kernels, const bge_attention *attention, int32_t head, bge_scratch *scratch);

/* Multiply-accumulates done by a loop of the kernels' own product instruction (`integer`) or of their attention's. */
BGE_API int64_t bge_peak(const bge_kernels *kernels, int integer, int64_t rounds);

#endif
