/* The forward pass, top to bottom: embeddings, then in every layer attention and feed-forward, then the head.
 *
 * Every part is a step or two of parts that several threads may do (team.c). Shapes stand beside the arrays; a row is a
 * token, and in the last layer, from the query on, only each pair's first token.
 */
#include "kernels.h"
#include "team.h"

#include <stdlib.h>

enum {
    ROWS_AT_A_TIME = 16,       /* of a step that works row by row */
    FEED_FORWARD_ROWS = 240,   /* at once through both its matrices: bounds the memory of what lies between them */
    CODES_AT_A_TIME = 240 * 1024, /* bytes of activations that a product goes over again for every panel: the L2 cache */
    QUERIES_AT_A_TIME = 480,   /* of one head */
};

/* ---- memory ---- */

struct bge_scratch {
    void *run, *part;  /* what a leader's passes need, and what a part of a step needs */
    size_t run_bytes, part_bytes;
};

bge_scratch *bge_scratch_new(void) { return calloc(1, sizeof(bge_scratch)); }

void bge_scratch_free(bge_scratch *scratch) {
    if (!scratch) return;
    free(scratch->run);
    free(scratch->part);
    free(scratch);
}

int64_t bge_scratch_bytes(const bge_scratch *scratch) { return (int64_t)(scratch->run_bytes + scratch->part_bytes); }

static void *grown(void **memory, size_t *size, size_t bytes) {
    if (bytes > *size) {
        free(*memory);
        bytes = bge_rounded_up(bytes, 64);
        *memory = aligned_alloc(64, bytes);
        *size = *memory ? bytes : 0;
    }
    return *memory;
}

void *bge_scratch_part(bge_scratch *scratch, size_t bytes) { return grown(&scratch->part, &scratch->part_bytes, bytes); }

/* One forward pass and its arrays. */
struct pass {
    const bge_kernels *kernels;
    const bge_class *class;
    const bge_model *model;
    const bge_run *run;
    bge_team *team;
    bge_seat *seat;
    bge_scratch *own;
    int tokens;
    int rows;                      /* tokens, or pairs once only first tokens count */
    int first_only;

    float *x;                      /* (rows, hidden): what goes from layer to layer */
    float *y;                      /* (rows, hidden): attention's context, then sums before a norm */
    float *query, *key, *value;    /* (tokens, hidden) */
    uint8_t *codes;                /* (rows, hidden) */
    float *scales;                 /* (rows) */
    int32_t *zeros;                /* (rows) */
    float *wide;                   /* (FEED_FORWARD_ROWS, intermediate) */
    uint8_t *wide_codes;           /* (FEED_FORWARD_ROWS, intermediate) */
    float *wide_scales;            /* (FEED_FORWARD_ROWS) */
    int32_t *wide_zeros;           /* (FEED_FORWARD_ROWS) */
    float *pooled;                 /* (pairs, hidden) */
    int32_t *first_part;           /* (pairs+1): of attention's step */
};

/* Lays the arrays out in `memory`, or with NULL only counts their bytes. */
static size_t lay_out(struct pass *p, char *memory) {
    size_t at = 0, t = (size_t)p->tokens, hidden = (size_t)p->model->hidden, wide = (size_t)p->model->intermediate;
    size_t block = (size_t)bge_least(p->tokens, FEED_FORWARD_ROWS);
#define ARRAY(name, count)                                                         \
    p->name = memory ? (void *)(memory + at) : NULL;                               \
    at += bge_rounded_up((size_t)(count) * sizeof *p->name, 64);
    ARRAY(x, t * hidden)
    ARRAY(y, t * hidden)
    ARRAY(query, t * hidden)
    ARRAY(key, t * hidden)
    ARRAY(value, t * hidden)
    ARRAY(codes, t * hidden)
    ARRAY(scales, t)
    ARRAY(zeros, t)
    ARRAY(wide, block * wide)
    ARRAY(wide_codes, block * wide)
    ARRAY(wide_scales, block)
    ARRAY(wide_zeros, block)
    ARRAY(pooled, (size_t)p->run->pairs * hidden)
    ARRAY(first_part, p->run->pairs + 1)
#undef ARRAY
    return at;
}

/* ---- steps ---- */

static int step(struct pass *p, bge_part part, void *context, int parts) {
    return bge_team_run(p->team, p->seat, part, context, parts, p->own);
}

static int parts_of(int rows, int at_a_time) { return (rows + at_a_time - 1) / at_a_time; }

/* Quantises x (rows, size). */
struct quantizing {
    const struct pass *pass;
    const float *x;
    int rows, size;
    uint8_t *codes;
    float *scales;
    int32_t *zeros;
};

static int quantize_rows(void *context, int part, bge_scratch *own) {
    (void)own;
    const struct quantizing *q = context;
    for (int r = part * ROWS_AT_A_TIME; r < bge_least((part + 1) * ROWS_AT_A_TIME, q->rows); r++)
        q->pass->kernels->quantize(q->pass->class, q->x + (size_t)r * q->size, q->size, q->codes + (size_t)r * q->size,
                                   q->scales + r, q->zeros + r);
    return BGE_OK;
}

static int quantize(struct pass *p, const float *x, int rows) {
    struct quantizing q = {p, x, rows, p->model->hidden, p->codes, p->scales, p->zeros};
    return step(p, quantize_rows, &q, parts_of(rows, ROWS_AT_A_TIME));
}

static int quantize_wide(struct pass *p, int rows) {
    struct quantizing q = {p, p->wide, rows, p->model->intermediate, p->wide_codes, p->wide_scales, p->wide_zeros};
    return step(p, quantize_rows, &q, parts_of(rows, ROWS_AT_A_TIME));
}

/* x (rows, hidden) -> normalised, into pass->x and, quantised, pass->codes. */
struct norming {
    const struct pass *pass;
    const float *x, *weight, *bias;
};

static void norm_row(const struct pass *p, int r, const float *x, const float *weight, const float *bias) {
    int hidden = p->model->hidden;
    float *out = p->x + (size_t)r * hidden;
    p->kernels->norm(x, weight, bias, p->model->epsilon, hidden, out);
    p->kernels->quantize(p->class, out, hidden, p->codes + (size_t)r * hidden, p->scales + r, p->zeros + r);
}

static int norm_rows(void *context, int part, bge_scratch *own) {
    (void)own;
    const struct norming *n = context;
    for (int r = part * ROWS_AT_A_TIME; r < bge_least((part + 1) * ROWS_AT_A_TIME, n->pass->rows); r++)
        norm_row(n->pass, r, n->x + (size_t)r * n->pass->model->hidden, n->weight, n->bias);
    return BGE_OK;
}

static int norm(struct pass *p, const float *x, const float *weight, const float *bias) {
    struct norming n = {p, x, weight, bias};
    return step(p, norm_rows, &n, parts_of(p->rows, ROWS_AT_A_TIME));
}

/* One to three products of the same rows: parts are blocks of rows times panels of outputs. */
struct multiplying {
    const struct pass *pass;
    bge_product product[3];
    int rows, block, panels;
};

static int multiply_part(void *context, int part, bge_scratch *own) {
    (void)own;
    const struct multiplying *m = context;
    int per_matrix = m->panels, all = per_matrix * parts_of(m->rows, m->block);
    int product = part / all, panel = part % all % per_matrix, row = part % all / per_matrix * m->block;
    m->pass->kernels->product(m->pass->class, &m->product[product], row, bge_least(m->block, m->rows - row), panel);
    return BGE_OK;
}

static int multiply(struct pass *p, struct multiplying *m, int products, int rows) {
    m->pass = p;
    m->rows = rows;
    /* A multiple of 12, which the tiles' heights divide. */
    m->block = bge_least(240, (CODES_AT_A_TIME / m->product[0].inputs + 12) / 12 * 12);
    m->panels = m->product[0].outputs / p->class->panel;
    return step(p, multiply_part, m, products * m->panels * parts_of(rows, m->block));
}

/* From the quantised rows of pass->codes. */
static bge_product product_of_rows(const struct pass *p, const bge_matrix *matrix, int outputs, float *out) {
    return (bge_product){.codes = p->codes, .scales = p->scales, .zeros = p->zeros, .inputs = p->model->hidden,
                         .outputs = outputs, .matrix = *matrix, .out = out};
}

/* ---- embeddings ---- */

static int embed_rows(void *context, int part, bge_scratch *own) {
    (void)own;
    const struct pass *p = context;
    const bge_model *m = p->model;
    size_t hidden = (size_t)m->hidden;
    for (int r = part * ROWS_AT_A_TIME; r < bge_least((part + 1) * ROWS_AT_A_TIME, p->tokens); r++) {
        int32_t id = p->run->input_ids[r];
        const int8_t *word = m->words + (size_t)id * hidden;
        const float *position = m->position_table + (size_t)p->run->position_ids[r] * hidden;
        const float *type = m->type_table + (size_t)p->run->token_type_ids[r] * hidden;
        float scale = m->word_scales[id], *out = p->x + (size_t)r * hidden;
        for (size_t i = 0; i < hidden; i++) out[i] = (float)word[i] * scale + type[i] + position[i];
        norm_row(p, r, out, m->norm, m->norm_bias);
    }
    return BGE_OK;
}

/* ---- attention ---- */

static int attend_part(void *context, int part, bge_scratch *own) {
    const struct pass *p = context;
    const int32_t *cu = p->run->cu_seqlens;
    int low = 0, high = p->run->pairs; /* the pair whose parts these are */
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (p->first_part[middle] <= part) low = middle;
        else high = middle;
    }
    part -= p->first_part[low];
    int head = part % p->model->heads, begin = part / p->model->heads * QUERIES_AT_A_TIME;
    size_t row = (size_t)(p->first_only ? low : cu[low]), hidden = (size_t)p->model->hidden;
    bge_attention a = {
        .query = p->query + row * hidden, .key = p->key + cu[low] * hidden, .value = p->value + cu[low] * hidden,
        .out = p->y + row * hidden, .width = p->model->hidden, .queries = p->first_only ? 1 : cu[low + 1] - cu[low],
        .tokens = cu[low + 1] - cu[low], .size = p->model->hidden / p->model->heads,
    };
    void *memory = bge_scratch_part(own, p->kernels->attention_bytes(&a));
    if (!memory) return BGE_NO_MEMORY;
    p->kernels->attend(&a, head, begin, bge_least(QUERIES_AT_A_TIME, a.queries - begin), memory);
    return BGE_OK;
}

/* query, key, value -> y (rows, hidden), within each pair. */
static int attend(struct pass *p) {
    p->first_part[0] = 0;
    for (int i = 0; i < p->run->pairs; i++) {
        int queries = p->first_only ? 1 : p->run->cu_seqlens[i + 1] - p->run->cu_seqlens[i];
        p->first_part[i + 1] = p->first_part[i] + p->model->heads * parts_of(queries, QUERIES_AT_A_TIME);
    }
    return step(p, attend_part, p, p->first_part[p->run->pairs]);
}

/* Keeps each pair's first row of x and its codes; rows only move up. */
static void keep_first_rows(struct pass *p) {
    size_t hidden = (size_t)p->model->hidden;
    for (int i = 0; i < p->run->pairs; i++) {
        size_t from = (size_t)p->run->cu_seqlens[i];
        memmove(p->x + i * hidden, p->x + from * hidden, hidden * sizeof *p->x);
        memmove(p->codes + i * hidden, p->codes + from * hidden, hidden);
        p->scales[i] = p->scales[from];
        p->zeros[i] = p->zeros[from];
    }
    p->rows = p->run->pairs;
    p->first_only = 1;
}

static int attention(struct pass *p, const bge_layer *layer, int last) {
    int hidden = p->model->hidden, error;
    struct multiplying query_key_value = {.product = {
        product_of_rows(p, &layer->key, hidden, p->key), product_of_rows(p, &layer->value, hidden, p->value),
        product_of_rows(p, &layer->query, hidden, p->query)}};
    if ((error = multiply(p, &query_key_value, last ? 2 : 3, p->rows))) return error;
    if (last) {
        keep_first_rows(p);
        struct multiplying query = {.product = {product_of_rows(p, &layer->query, hidden, p->query)}};
        if ((error = multiply(p, &query, 1, p->rows))) return error;
    }
    if ((error = attend(p))) return error;
    if ((error = quantize(p, p->y, p->rows))) return error;
    struct multiplying output = {.product = {product_of_rows(p, &layer->output, hidden, p->y)}};
    output.product[0].residual = p->x;
    if ((error = multiply(p, &output, 1, p->rows))) return error;
    return norm(p, p->y, layer->attention_norm, layer->attention_norm_bias);
}

/* ---- feed-forward ---- */

static int feed_forward(struct pass *p, const bge_layer *layer) {
    int hidden = p->model->hidden, intermediate = p->model->intermediate, error;
    for (int row = 0; row < p->rows; row += FEED_FORWARD_ROWS) {
        int rows = bge_least(FEED_FORWARD_ROWS, p->rows - row);
        struct multiplying wide = {.product = {product_of_rows(p, &layer->wide, intermediate, p->wide)}};
        wide.product[0].codes += (size_t)row * hidden;
        wide.product[0].scales += row;
        wide.product[0].zeros += row;
        wide.product[0].gelu = 1;
        if ((error = multiply(p, &wide, 1, rows))) return error;
        if ((error = quantize_wide(p, rows))) return error;
        struct multiplying narrow = {.product = {{
            .codes = p->wide_codes, .scales = p->wide_scales, .zeros = p->wide_zeros, .inputs = intermediate,
            .outputs = hidden, .matrix = layer->narrow, .out = p->y + (size_t)row * hidden,
            .residual = p->x + (size_t)row * hidden}}};
        if ((error = multiply(p, &narrow, 1, rows))) return error;
    }
    return norm(p, p->y, layer->norm, layer->norm_bias);
}

/* ---- head ---- */

/* Some outputs of the dense layer for all pairs. */
static int pool_part(void *context, int part, bge_scratch *own) {
    (void)own;
    const struct pass *p = context;
    int hidden = p->model->hidden;
    for (int i = part * 32; i < (part + 1) * 32; i++)
        for (int pair = 0; pair < p->run->pairs; pair++) {
            float sum = p->kernels->dot(p->model->head + (size_t)i * hidden, p->x + (size_t)pair * hidden, hidden);
            p->pooled[(size_t)pair * hidden + i] = tanhf(sum + p->model->head_bias[i]);
        }
    return BGE_OK;
}

static int head(struct pass *p, float *logits) {
    int error = step(p, pool_part, p, p->model->hidden / 32);
    for (int pair = 0; pair < p->run->pairs && !error; pair++)
        logits[pair] = p->kernels->dot(p->model->label, p->pooled + (size_t)pair * p->model->hidden, p->model->hidden) +
                       p->model->label_bias[0];
    return error;
}

/* ---- the whole ---- */

static int fits(const bge_kernels *kernels, const bge_class *class, const bge_model *m) {
    if (kernels->class && kernels->class != class) return 0;
    int sizes = m->hidden >= 32 && m->hidden <= 4096 && m->hidden % 32 == 0 && m->intermediate >= 32 &&
                m->intermediate <= 16384 && m->intermediate % 32 == 0 && m->layers >= 1 && m->vocabulary >= 1 &&
                m->positions >= 1 && m->types >= 1;
    if (!sizes || m->heads < 1 || m->hidden % m->heads) return 0;
    int size = m->hidden / m->heads;
    return size >= 8 && size <= 256 && size % 8 == 0;
}

static int within(const bge_model *m, const bge_run *run) {
    if (run->pairs < 1 || run->cu_seqlens[0] != 0) return 0;
    for (int i = 0; i < run->pairs; i++)
        if (run->cu_seqlens[i + 1] <= run->cu_seqlens[i]) return 0;
    int tokens = run->cu_seqlens[run->pairs];
    if (tokens > 1 << 20) return 0;
    for (int i = 0; i < tokens; i++) {
        if (run->input_ids[i] < 0 || run->input_ids[i] >= m->vocabulary) return 0;
        if (run->token_type_ids[i] < 0 || run->token_type_ids[i] >= m->types) return 0;
        if (run->position_ids[i] < 0 || run->position_ids[i] >= m->positions) return 0;
    }
    return 1;
}

static int encode(struct pass *p, const _Atomic int32_t *cancel, float *logits) {
    int error = step(p, embed_rows, p, parts_of(p->tokens, ROWS_AT_A_TIME));
    for (int i = 0; i < p->model->layers && !error; i++) {
        if (cancel && atomic_load_explicit(cancel, memory_order_relaxed)) return BGE_CANCELLED;
        error = attention(p, &p->model->layer[i], i == p->model->layers - 1);
        if (!error) error = feed_forward(p, &p->model->layer[i]);
    }
    return error ? error : head(p, logits);
}

int bge_forward(const bge_kernels *kernels, const bge_class *class, const bge_model *model, const bge_run *run,
                bge_scratch *scratch, bge_team *team, const _Atomic int32_t *cancel, float *logits) {
    if (!fits(kernels, class, model)) return BGE_BAD_MODEL;
    if (!within(model, run)) return BGE_BAD_INPUT;
    struct pass p = {.kernels = kernels, .class = class, .model = model, .run = run, .team = team, .own = scratch};
    p.tokens = p.rows = run->cu_seqlens[run->pairs];
    char *memory = grown(&scratch->run, &scratch->run_bytes, lay_out(&p, NULL));
    if (!memory) return BGE_NO_MEMORY;
    lay_out(&p, memory);
    p.seat = bge_team_sit(team);
    int error = encode(&p, cancel, logits);
    bge_team_rise(team, p.seat);
    return error;
}

/* ---- one kernel at a time ---- */

void bge_quantize(const bge_kernels *kernels, const bge_class *class, const float *x, int32_t size, uint8_t *codes,
                  float *scale, int32_t *zero) {
    kernels->quantize(class, x, size, codes, scale, zero);
}

void bge_norm(const bge_kernels *kernels, const float *x, const float *weight, const float *bias, float epsilon,
              int32_t size, float *out) {
    kernels->norm(x, weight, bias, epsilon, size, out);
}

void bge_multiply(const bge_kernels *kernels, const bge_class *class, const bge_product *product, int32_t rows) {
    struct pass p = {.kernels = kernels, .class = class};
    struct multiplying m = {.product = {*product}};
    multiply(&p, &m, 1, rows);
}

int bge_attend(const bge_kernels *kernels, const bge_attention *attention, int32_t head, bge_scratch *scratch) {
    void *memory = bge_scratch_part(scratch, kernels->attention_bytes(attention));
    if (!memory) return BGE_NO_MEMORY;
    kernels->attend(attention, head, 0, attention->queries, memory);
    return BGE_OK;
}

int64_t bge_peak(const bge_kernels *kernels, int integer, int64_t rounds) { return kernels->peak(integer, rounds); }
