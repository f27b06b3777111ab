/* fakenvml.c -> libnvidia-ml.so.1: NVML over the same simulated machine (see fakegpu.h). */
#include "fakegpu.h"
#define API __attribute__((visibility("default"))) int
enum { OK = 0, UNINIT = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, SMALL = 7 };
static int inited;
static fg_gpu *dev(void *h) { long i = (long)h - 1; return i >= 0 && i < fg()->n ? &fg()->gpu[i] : NULL; }
#define ENTER fg_trace(__func__); if (!inited) return UNINIT
#define DEV(g, h) ENTER; fg_gpu *g = dev(h); if (!g) return INVALID; { int rc_ = fg_strike(&g->nvml); if (rc_) return rc_; }
API nvmlInit_v2(void) { fg_trace(__func__); int rc = fg_strike(&fg()->nvml); if (!rc) inited = 1; return rc; }
API nvmlInit(void) { return nvmlInit_v2(); }
API nvmlInitWithFlags(unsigned f) { (void)f; return nvmlInit_v2(); }
API nvmlShutdown(void) { inited = 0; return OK; }
API nvmlSystemGetDriverVersion(char *s, unsigned n) { ENTER; snprintf(s, n, "%s", fg()->kmd.v); return OK; }
API nvmlSystemGetNVMLVersion(char *s, unsigned n) { ENTER; snprintf(s, n, "13.%s", fg()->kmd.v); return OK; }
API nvmlSystemGetCudaDriverVersion(int *v) { ENTER; *v = fg()->driver; return OK; }
API nvmlSystemGetCudaDriverVersion_v2(int *v) { ENTER; *v = fg()->driver; return OK; }
API nvmlDeviceGetCount_v2(unsigned *n) { ENTER; *n = fg()->n; return OK; }
API nvmlDeviceGetCount(unsigned *n) { return nvmlDeviceGetCount_v2(n); }
API nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) { ENTER; if ((int)i >= fg()->n) return INVALID; int rc = fg_strike(&fg()->gpu[i].nvml); if (rc) return rc; *h = (void *)(long)(i + 1); return OK; }
API nvmlDeviceGetHandleByIndex(unsigned i, void **h) { return nvmlDeviceGetHandleByIndex_v2(i, h); }
API nvmlDeviceGetHandleByUUID(const char *u, void **h) { ENTER; for (int i = 0; i < fg()->n; i++) if (!strcmp(fg()->gpu[i].uuid.v, u)) { *h = (void *)(long)(i + 1); return OK; } return NOT_FOUND; }
API nvmlDeviceGetHandleByPciBusId_v2(const char *s, void **h) { ENTER; unsigned a, b; if (sscanf(s, "%x:%x", &a, &b) != 2 || !b || (int)b > fg()->n) return NOT_FOUND; *h = (void *)(long)b; return OK; }
API nvmlDeviceGetIndex(void *h, unsigned *i) { DEV(g, h); *i = (unsigned)(g - fg()->gpu); return OK; }
API nvmlDeviceGetName(void *h, char *s, unsigned n) { DEV(g, h); snprintf(s, n, "%s", g->name.v); return OK; }
API nvmlDeviceGetUUID(void *h, char *s, unsigned n) { DEV(g, h); snprintf(s, n, "%s", g->uuid.v); return OK; }
API nvmlDeviceGetCudaComputeCapability(void *h, int *a, int *b) { DEV(g, h); *a = g->major; *b = g->minor; return OK; }
typedef struct { unsigned long long total, free, used; } mem_t;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } mem2_t;
API nvmlDeviceGetMemoryInfo(void *h, mem_t *m) { DEV(g, h); m->total = g->mem_mib << 20; m->used = g->used_mib << 20; m->free = m->total - m->used; return OK; }
API nvmlDeviceGetMemoryInfo_v2(void *h, mem2_t *m) { DEV(g, h); m->total = g->mem_mib << 20; m->used = g->used_mib << 20; m->reserved = 0; m->free = m->total - m->used; return OK; }
API nvmlDeviceGetUtilizationRates(void *h, unsigned *u) { DEV(g, h); (void)g; u[0] = 0; u[1] = 0; return OK; }
API nvmlDeviceGetTemperature(void *h, int s, unsigned *t) { DEV(g, h); (void)s; (void)g; *t = 41; return OK; }
API nvmlDeviceGetComputeMode(void *h, int *m) { DEV(g, h); *m = g->mode; return OK; }
API nvmlDeviceGetPersistenceMode(void *h, int *m) { DEV(g, h); *m = g->persistent; return OK; }
API nvmlDeviceGetDisplayActive(void *h, int *a) { DEV(g, h); *a = g->display; return OK; }
API nvmlDeviceGetCurrentClocksThrottleReasons(void *h, unsigned long long *r) { DEV(g, h); *r = g->throttle; return OK; }
API nvmlDeviceGetCurrPcieLinkWidth(void *h, unsigned *w) { DEV(g, h); *w = g->lanes; return OK; }
API nvmlDeviceGetMaxPcieLinkWidth(void *h, unsigned *w) { DEV(g, h); (void)g; *w = 16; return OK; }
API nvmlDeviceGetMigMode(void *h, unsigned *c, unsigned *p) { DEV(g, h); if (g->mig < 0) return NOT_SUPPORTED; *c = *p = g->mig; return OK; }
API nvmlDeviceGetEccMode(void *h, int *c, int *p) { DEV(g, h); (void)g; *c = *p = 1; return OK; }
API nvmlDeviceGetTotalEccErrors(void *h, int type, int counter, unsigned long long *n) { DEV(g, h); (void)counter; *n = type == 1 ? g->ecc : 0; return OK; }
API nvmlDeviceGetRetiredPagesPendingStatus(void *h, int *p) { DEV(g, h); *p = 0; (void)g; return OK; }
API nvmlDeviceGetRemappedRows(void *h, unsigned *c, unsigned *u, unsigned *pend, unsigned *fail) { DEV(g, h); *c = 0; *u = g->ecc; *pend = g->repair == 1; *fail = g->repair == 2; return OK; }
typedef struct { char legacy[16]; unsigned domain, bus, device, device_id, subsystem; char bus_id[32]; } pci_t;
API nvmlDeviceGetPciInfo_v3(void *h, pci_t *p) { DEV(g, h); memset(p, 0, sizeof *p); p->bus = (unsigned)(g - fg()->gpu) + 1; snprintf(p->bus_id, sizeof p->bus_id, "00000000:%02X:00.0", p->bus); return OK; }
typedef struct { unsigned field, scope; long long timestamp, latency; unsigned kind, code; unsigned long long value; } field_t;
API nvmlDeviceGetFieldValues(void *h, int n, field_t *f) {
    DEV(g, h);
    for (int i = 0; i < n; i++) { f[i].code = f[i].field == 230 ? OK : NOT_SUPPORTED; f[i].value = f[i].field == 230 ? (unsigned)g->recovery : 0; }
    return OK;
}
typedef struct { unsigned pid; unsigned long long used; unsigned gi, ci; } proc_t;
API nvmlDeviceGetComputeRunningProcesses_v3(void *h, unsigned *n, proc_t *p) {
    DEV(g, h); unsigned want = 0; char b[FG_STR]; snprintf(b, sizeof b, "%s", g->pids.v); char *sv;
    for (char *t = strtok_r(b, ",", &sv); t; t = strtok_r(NULL, ",", &sv)) {
        unsigned pid; unsigned long long mib;
        if (sscanf(t, "%u:%llu", &pid, &mib) != 2) continue;
        if (p && want < *n) { p[want].pid = pid; p[want].used = mib << 20; p[want].gi = p[want].ci = 0xFFFFFFFFu; }
        want++;
    }
    int small = want > *n; *n = want; return small ? SMALL : OK;
}
API nvmlDeviceGetComputeRunningProcesses(void *h, unsigned *n, proc_t *p) { return nvmlDeviceGetComputeRunningProcesses_v3(h, n, p); }
API nvmlDeviceGetComputeRunningProcesses_v2(void *h, unsigned *n, proc_t *p) { return nvmlDeviceGetComputeRunningProcesses_v3(h, n, p); }
/* torch asserts that these exist before it reports an out-of-memory */
API nvmlDeviceGetNvLinkRemoteDeviceType(void *h, unsigned l, int *t) { (void)l; DEV(g, h); (void)g; (void)t; return NOT_SUPPORTED; }
API nvmlDeviceGetNvLinkRemotePciInfo_v2(void *h, unsigned l, void *p) { (void)l; DEV(g, h); (void)g; (void)p; return NOT_SUPPORTED; }
__attribute__((visibility("default"))) const char *nvmlErrorString(int rc) {
    switch (rc) { case 0: return "The operation was successful"; case 9: return "Driver Not Loaded"; case 15: return "GPU is lost"; case 18: return "Driver/library version mismatch"; case 999: return "Unknown Error"; default: return "NVML error"; }
}
