/* A stand-in of NVML for tests: the functions that our Attester calls, with the structures of nvml.h. What GPUs answer lies
 * in files of FOLDER. Macros replace what a sound driver says. */
#include <stdio.h>
#include <string.h>

#ifndef INIT
#define INIT 0
#endif
#ifndef STATE
#define STATE 0
#endif
#ifndef FEATURE
#define FEATURE 1
#endif
#ifndef COUNT
#define COUNT 1
#endif
#ifndef HANDLE
#define HANDLE 0
#endif
#ifndef ARCHITECTURE
#define ARCHITECTURE 9
#endif
#ifndef CERTIFICATE
#define CERTIFICATE 0
#endif
#ifndef REPORT
#define REPORT 0
#endif

typedef struct {
    unsigned int environment, ccFeature, devToolsMode;
} state_t;

typedef struct {
    unsigned int certChainSize, attestationCertChainSize;
    unsigned char certChain[0x1000];
    unsigned char attestationCertChain[0x1400];
} certificate_t;

typedef struct {
    unsigned int isCecAttestationReportPresent, attestationReportSize, cecAttestationReportSize;
    unsigned char nonce[0x20];
    unsigned char attestationReport[0x2000];
    unsigned char cecAttestationReport[0x1000];
} report_t;

static int devices[COUNT + 1];
static int started;

static unsigned int load(const char *what, void *device, unsigned char *into, size_t room) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s-%d", FOLDER, what, (int)((int *)device - devices));
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    size_t length = fread(into, 1, room, file);
    fclose(file);
    return (unsigned int)length;
}

int nvmlInit_v2(void) {
    started = INIT == 0;
    return INIT;
}

int nvmlShutdown(void) {
    int code = started ? 0 : 1;
    started = 0;
    return code;
}

const char *nvmlErrorString(int code) {
    static char text[64];
    snprintf(text, sizeof text, "stand-in's error %d", code);
    return text;
}

int nvmlSystemGetConfComputeState(state_t *state) {
    state->environment = 2;
    state->ccFeature = FEATURE;
    state->devToolsMode = 0;
    return started ? STATE : 1;
}

int nvmlDeviceGetCount_v2(unsigned int *count) {
    *count = COUNT;
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    *device = &devices[index];
    return HANDLE;
}

int nvmlDeviceGetArchitecture(void *device, unsigned int *architecture) {
    (void)device;
    *architecture = ARCHITECTURE;
    return 0;
}

int nvmlDeviceGetConfComputeGpuCertificate(void *device, certificate_t *certificate) {
    certificate->attestationCertChainSize =
        load("chain", device, certificate->attestationCertChain, sizeof certificate->attestationCertChain);
#ifdef ZERO
    certificate->attestationCertChain[certificate->attestationCertChainSize++] = 0;
#endif
#ifdef CHAIN_SIZE
    certificate->attestationCertChainSize = CHAIN_SIZE;
#endif
    return CERTIFICATE;
}

#ifndef OLD
int nvmlDeviceGetConfComputeGpuAttestationReport(void *device, report_t *report) {
    report->attestationReportSize = load("report", device, report->attestationReport, sizeof report->attestationReport);
#ifdef REPORT_SIZE
    report->attestationReportSize = REPORT_SIZE;
#endif
    return REPORT;
}
#endif
