/* A double of the library for tests of the host program: speaks the ABI, has canned answers and no behaviour of its
   own. ABI_VERSION is given to the compiler. Answers of actions it does not know by name are read from the files
   $FAKE_ANSWERS/<action>.json; without such a file the action is unknown. */
#define _POSIX_C_SOURCE 200809L
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct { int open; } module_t;
typedef void (*sink_t)(void *, const char *, size_t);
typedef struct {
    uint32_t abi_version, size;
    void *context;
    void (*log)(void *, int32_t, const char *, size_t);
    int32_t (*announce)(void *, const char *, size_t);
    void (*progress)(void *, const char *, size_t);
    int32_t (*begin_write)(void *, uint32_t);
    void (*end_write)(void *);
    int64_t (*now)(void *);
} host_t;

static host_t host;
static module_t the_module;

static int32_t answer(int32_t status, const char *text, sink_t sink, void *context) {
    sink(context, text, strlen(text));
    return status;
}

static int32_t named(const char *hook, sink_t sink, void *context) {
    char text[256];
    snprintf(text, sizeof text, "{\"result\":true,\"data\":\"%s\",\"messages\":{\"error\":[],\"info\":[]}}", hook);
    return answer(0, text, sink, context);
}

uint32_t ldap_sync_abi_version(void) { return ABI_VERSION; }

int32_t ldap_sync_open(const host_t *given, const char *config, size_t length, module_t **out) {
    host = *given;
    *out = NULL;
    if (given->abi_version != 1 || given->size < sizeof(host_t)) return 2;
    if (length >= 6 && memcmp(config, "refuse", 6) == 0) {
        host.log(host.context, 1, "no such PBX", 11);
        return 6;
    }
    the_module.open = 1;
    *out = &the_module;
    return 0;
}

void ldap_sync_close(module_t *module) {
    module->open = 0;
    host.log(host.context, 3, "closed", 6);
}

int32_t ldap_sync_install(module_t *m, sink_t sink, void *c) { (void)m; return named("install", sink, c); }
int32_t ldap_sync_worker_tick(module_t *m, sink_t sink, void *c) { (void)m; return named("worker_tick", sink, c); }

int32_t ldap_sync_uninstall(module_t *m, int32_t keep, sink_t sink, void *c) {
    (void)m;
    return named(keep ? "uninstall, kept" : "uninstall", sink, c);
}

static int32_t echo(const char *hook, const char *json, size_t length, sink_t sink, void *context) {
    size_t room = length + 200;
    char *text = malloc(room);
    snprintf(text, room, "{\"result\":true,\"data\":{\"hook\":\"%s\",\"body\":%.*s}}", hook,
             json ? (int)length : 4, json ? json : "null");
    int32_t status = answer(0, text, sink, context);
    free(text);
    return status;
}

int32_t ldap_sync_config_save(module_t *m, const char *json, size_t length, sink_t sink, void *c) {
    (void)m;
    return echo("config_save", json, length, sink, c);
}

int32_t ldap_sync_models_changed(module_t *m, const char *json, size_t length, sink_t sink, void *c) {
    (void)m;
    return echo("models_changed", json, length, sink, c);
}

static int32_t every_callback(sink_t sink, void *context) {
    const char *events = "[{\"recordId\":\"1\"},{\"recordId\":\"2\"}]";
    const char *progress = "{\"runId\":7,\"phase\":\"applying\",\"done\":1,\"total\":2}";
    char text[256];
    host.log(host.context, 2, "a warning", 9);
    host.progress(host.context, progress, strlen(progress));
    int32_t begun = host.begin_write(host.context, 50);
    int32_t announced = host.announce(host.context, events, strlen(events));
    host.end_write(host.context);
    long long now = (long long)host.now(host.context);
    snprintf(text, sizeof text, "{\"result\":true,\"data\":{\"begun\":%d,\"announced\":%d,\"now\":%lld}}", begun,
             announced, now);
    return answer(0, text, sink, context);
}

static int32_t canned(const char *action, sink_t sink, void *context) {
    char path[4096];
    const char *directory = getenv("FAKE_ANSWERS");
    snprintf(path, sizeof path, "%s/%s.json", directory ? directory : "/nonexistent", action);
    FILE *file = fopen(path, "rb");
    if (!file) return answer(1, "{\"result\":false,\"messages\":{\"error\":[\"no such action\"]}}", sink, context);
    static char text[1 << 20];
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    return answer(strstr(text, "\"result\":false") ? 5 : 0, text, sink, context);
}

int32_t ldap_sync_request(module_t *m, const char *action, const char *json, size_t length, sink_t sink, void *c) {
    (void)m;
    if (!strcmp(action, "echo")) return echo("request", json, length, sink, c);
    if (!strcmp(action, "callbacks")) return every_callback(sink, c);
    if (!strcmp(action, "silent")) return 99;
    if (!strcmp(action, "twice")) return answer(0, "1", sink, c), answer(0, "2", sink, c);
    if (!strcmp(action, "not-utf8")) return answer(0, "\xff", sink, c);
    if (!strcmp(action, "refuse"))
        return answer(5, "{\"result\":false,\"messages\":{\"error\":[\"held\"]}}", sink, c);
    if (!strcmp(action, "slow")) {
        struct timespec pause = {0, 300000000};
        nanosleep(&pause, NULL);
        return named("slow", sink, c);
    }
    return canned(action, sink, c);
}
