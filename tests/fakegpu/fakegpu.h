/* fakegpu.h - the simulated machine shared by the fake driver, NVML and runtime shim.
 *
 * Everything is described by one environment variable, FAKEGPU:
 *
 *     key=value;key=value;...;gpu=key=value|key=value;gpu=...
 *
 * machine keys            default      meaning
 *   driver=13000                       cuDriverGetVersion / max CUDA of the driver
 *   kmd=580.65.06                      driver release reported by NVML
 *   init=FAULT                         struck inside cuInit
 *   nvml=FAULT                         struck inside nvmlInit
 * gpu keys
 *   name=, cc=8.0, mem=24576 (MiB), used=512 (MiB), uuid=, mode=0 (compute mode),
 *   mig=0 (1: the driver shows its one slice instead, with a UUID of its own that only MIG-... reaches),
 *   ecc=0 (uncorrected volatile errors), repair=0 (1 rows wait for a reset, 2 repair failed),
 *   recovery=0 (NVML's recovery action), pids=12:300,13:40 (pid:MiB)
 *   display=0 (1: a screen runs on it), persistent=1, throttle=0 (NVML's bits), lanes=16 (of 16 PCIe lanes)
 *   ctx=FAULT alloc=FAULT copy=FAULT launch=FAULT|drop sync=FAULT nvml=FAULT
 *   matmul=FAULT|wrong (cuBLAS; a code is cuBLAS' own, struck when it starts)
 *
 * FAULT is a numeric result code, or one of  hang | segv | abort | exit | slow:<ms>.
 */
#ifndef FAKEGPU_H
#define FAKEGPU_H
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FG_MAX 16
#define FG_STR 96
typedef struct { char v[FG_STR]; } fg_str;
typedef struct {
    fg_str name, uuid, slice, pids, ctx, alloc, copy, launch, sync, matmul, nvml;
    int major, minor, mode, mig, ecc, repair, recovery, display, persistent, lanes;
    unsigned long long throttle;
    uint64_t mem_mib, used_mib;
} fg_gpu;
typedef struct {
    int ready, driver, n;
    fg_str kmd, init, nvml;
    fg_gpu gpu[FG_MAX];
    int visible[FG_MAX], nvisible; /* after CUDA_VISIBLE_DEVICES, captured at first use */
} fg_machine;

static void fg_set(fg_str *s, const char *v) { snprintf(s->v, FG_STR, "%s", v); }

static void fg_gpu_key(fg_gpu *g, const char *k, const char *v) {
    if (!strcmp(k, "name")) fg_set(&g->name, v);
    else if (!strcmp(k, "uuid")) fg_set(&g->uuid, v);
    else if (!strcmp(k, "pids")) fg_set(&g->pids, v);
    else if (!strcmp(k, "ctx")) fg_set(&g->ctx, v);
    else if (!strcmp(k, "alloc")) fg_set(&g->alloc, v);
    else if (!strcmp(k, "copy")) fg_set(&g->copy, v);
    else if (!strcmp(k, "launch")) fg_set(&g->launch, v);
    else if (!strcmp(k, "sync")) fg_set(&g->sync, v);
    else if (!strcmp(k, "matmul")) fg_set(&g->matmul, v);
    else if (!strcmp(k, "nvml")) fg_set(&g->nvml, v);
    else if (!strcmp(k, "cc")) sscanf(v, "%d.%d", &g->major, &g->minor);
    else if (!strcmp(k, "mem")) g->mem_mib = strtoull(v, 0, 10);
    else if (!strcmp(k, "used")) g->used_mib = strtoull(v, 0, 10);
    else if (!strcmp(k, "mode")) g->mode = atoi(v);
    else if (!strcmp(k, "mig")) g->mig = atoi(v);
    else if (!strcmp(k, "ecc")) g->ecc = atoi(v);
    else if (!strcmp(k, "repair")) g->repair = atoi(v);
    else if (!strcmp(k, "recovery")) g->recovery = atoi(v);
    else if (!strcmp(k, "display")) g->display = atoi(v);
    else if (!strcmp(k, "persistent")) g->persistent = atoi(v);
    else if (!strcmp(k, "throttle")) g->throttle = strtoull(v, 0, 10);
    else if (!strcmp(k, "lanes")) g->lanes = atoi(v);
    else { fprintf(stderr, "FAKEGPU: unknown gpu key '%s'\n", k); _exit(97); }
}

static void fg_visible(fg_machine *m) {
    const char *cvd = getenv("CUDA_VISIBLE_DEVICES");
    m->nvisible = 0;
    if (!cvd) { for (int i = 0; i < m->n; i++) m->visible[m->nvisible++] = i; return; }
    char buf[512]; snprintf(buf, sizeof buf, "%s", cvd);
    for (char *sv, *t = strtok_r(buf, ",", &sv); t; t = strtok_r(NULL, ",", &sv)) {
        int hit = -1;
        while (*t == ' ') t++;
        if (!strncmp(t, "GPU-", 4)) {
            for (int i = 0; i < m->n; i++) if (!m->gpu[i].mig && !strncmp(m->gpu[i].uuid.v, t, strlen(t))) hit = hit < 0 ? i : FG_MAX;
        } else if (!strncmp(t, "MIG-", 4)) {
            for (int i = 0; i < m->n; i++) if (m->gpu[i].mig && !strcmp(m->gpu[i].slice.v + 4, t + 4)) hit = i;
        } else { char *e; long x = strtol(t, &e, 10); if (e != t) hit = (int)x; }
        if (hit < 0 || hit >= m->n) return;              /* first invalid entry ends the list */
        for (int i = 0; i < m->nvisible; i++) if (m->visible[i] == hit) { m->nvisible = 0; return; }
        m->visible[m->nvisible++] = hit;
    }
}

static fg_machine *fg(void) {
    static fg_machine m;
    if (m.ready) return &m;
    m.driver = 13000; fg_set(&m.kmd, "580.65.06");
    const char *env = getenv("FAKEGPU");
    char *buf = strdup(env ? env : ""), *sv, *sv2;
    for (char *t = strtok_r(buf, ";", &sv); t; t = strtok_r(NULL, ";", &sv)) {
        char *eq = strchr(t, '='); if (!eq) continue; *eq = 0; char *v = eq + 1;
        if (!strcmp(t, "driver")) m.driver = atoi(v);
        else if (!strcmp(t, "kmd")) fg_set(&m.kmd, v);
        else if (!strcmp(t, "init")) fg_set(&m.init, v);
        else if (!strcmp(t, "nvml")) fg_set(&m.nvml, v);
        else if (!strcmp(t, "gpu") && m.n < FG_MAX) {
            fg_gpu *g = &m.gpu[m.n];
            fg_set(&g->name, "NVIDIA Fake"); g->major = 8; g->mem_mib = 24576; g->used_mib = 512; g->persistent = 1; g->lanes = 16;
            snprintf(g->uuid.v, FG_STR, "GPU-%08x-fa4e-4000-8000-%012x", 0xfa4e0000 + m.n, m.n);
            for (char *p = strtok_r(v, "|", &sv2); p; p = strtok_r(NULL, "|", &sv2)) {
                char *e2 = strchr(p, '='); if (!e2) continue; *e2 = 0; fg_gpu_key(g, p, e2 + 1);
            }
            g->slice = g->uuid; memcpy(g->slice.v, "GPU-51ce", 8); /* the driver tells no prefix of its own */
            m.n++;
        } else { fprintf(stderr, "FAKEGPU: unknown key '%s'\n", t); _exit(97); }
    }
    free(buf);
    fg_visible(&m);
    m.ready = 1;
    return &m;
}

static int fg_trace(const char *what) {
    static int on = -1;
    if (on < 0) on = getenv("FAKEGPU_TRACE") != NULL;
    if (on) fprintf(stderr, "[fakegpu %d] %s\n", getpid(), what);
    return on;
}

/* Act out a fault: does not return for hang/segv/abort/exit; otherwise the result code. */
static int fg_strike(const fg_str *f) {
    if (!f->v[0]) return 0;
    if (!strcmp(f->v, "hang")) for (;;) pause();
    if (!strcmp(f->v, "segv")) { signal(SIGSEGV, SIG_DFL); raise(SIGSEGV); }
    if (!strcmp(f->v, "abort")) abort();
    if (!strcmp(f->v, "exit")) _exit(1);
    if (!strncmp(f->v, "slow:", 5)) { usleep(1000 * atoi(f->v + 5)); return 0; }
    return atoi(f->v);
}
/* The physical GPU behind visible ordinal d, or NULL. */
static fg_gpu *fg_at(int d) { fg_machine *m = fg(); return d >= 0 && d < m->nvisible ? &m->gpu[m->visible[d]] : NULL; }
#endif
