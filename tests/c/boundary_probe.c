/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A host that does everything wrong. Loads the library, misuses every hook and prints one line per expectation that
   does not hold. Arguments: library, module directory, PBX database, media directory. */

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ldap_sync.h"

static __typeof__(&ldap_sync_abi_version) abi_version;
static __typeof__(&ldap_sync_open) open_module;
static __typeof__(&ldap_sync_install) install;
static __typeof__(&ldap_sync_worker_tick) worker_tick;
static __typeof__(&ldap_sync_config_save) config_save;
static __typeof__(&ldap_sync_models_changed) models_changed;
static __typeof__(&ldap_sync_request) request;
static __typeof__(&ldap_sync_close) close_module;

static int failures;
static int expectations;

static void expect(int holds, const char *what, long status) {
    expectations++;
    if (!holds) {
        failures++;
        printf("FAILED: %s (status %ld)\n", what, status);
    }
}

/* What a sink got. */
struct answer {
    int calls;
    size_t length;
    char text[512];
};

static void sink(void *context, const char *utf8, size_t length) {
    struct answer *answer = context;
    size_t kept = length < sizeof answer->text - 1 ? length : sizeof answer->text - 1;
    answer->calls++;
    answer->length = length;
    memcpy(answer->text, utf8, kept);
    answer->text[kept] = 0;
}

/* The status is as wanted, the sink was called once, and the envelope says the same as the status. */
static void check(const char *what, int32_t status, int32_t wanted, struct answer *answer) {
    expect(status == wanted, what, status);
    expect(answer->calls == 1, "the sink is called exactly once", answer->calls);
    expect(answer->text[0] == '{', "the answer is a JSON object", status);
    if (answer->length < sizeof answer->text) {
        int positive = strstr(answer->text, "\"result\":true") != NULL;
        expect(positive == (status == LDAP_SYNC_OK), "result is true exactly when the status is 0", status);
        if (status != LDAP_SYNC_OK) {
            expect(strstr(answer->text, "\"error\":[]") == NULL, "an error has a message", status);
        }
    }
    if (status != wanted) {
        printf("        %s\n", answer->text);
    }
}

static void log_nothing(void *context, int32_t level, const char *utf8, size_t length) {
    (void)context, (void)level, (void)utf8, (void)length;
}

static struct ldap_sync_host host(void) {
    struct ldap_sync_host host;
    memset(&host, 0, sizeof host);
    host.abi_version = LDAP_SYNC_ABI_VERSION;
    host.size = sizeof host;
    host.log = log_nothing;
    return host;
}

static void try_open(const char *what, const struct ldap_sync_host *with, const char *json, size_t length, int32_t wanted) {
    ldap_sync_module *module = (ldap_sync_module *)&failures;
    int32_t status = open_module(with, json, length, &module);
    expect(status == wanted, what, status);
    expect((module != NULL) == (status == LDAP_SYNC_OK), "a handle exactly when open succeeds", status);
    if (status == LDAP_SYNC_OK) {
        close_module(module);
    }
}

static void bad_opens(const char *config) {
    size_t length = strlen(config);
    struct ldap_sync_host good = host(), bad = host();
    struct { struct ldap_sync_host host; char later_version[64]; } larger;

    try_open("no host", NULL, config, length, LDAP_SYNC_INVALID_ARGUMENT);
    expect(open_module(&good, config, length, NULL) == LDAP_SYNC_INVALID_ARGUMENT, "no place for the handle", 0);
    try_open("no configuration", &good, NULL, 0, LDAP_SYNC_INVALID_ARGUMENT);
    try_open("no configuration, but a length", &good, NULL, 10, LDAP_SYNC_INVALID_ARGUMENT);
    try_open("half a configuration", &good, config, length / 2, LDAP_SYNC_INVALID_ARGUMENT);
    try_open("a configuration that is no JSON", &good, "moduleDir", 9, LDAP_SYNC_INVALID_ARGUMENT);
    try_open("a configuration without keys", &good, "{}", 2, LDAP_SYNC_INVALID_ARGUMENT);
    try_open("a configuration of a wrong type", &good, "{\"moduleDir\":7}", 15, LDAP_SYNC_INVALID_ARGUMENT);
    try_open("a configuration that is no UTF-8", &good, "{\"moduleDir\":\"\xff\xfe\"}", 17, LDAP_SYNC_INVALID_ARGUMENT);
    bad.abi_version = 0;
    try_open("ABI version 0", &bad, config, length, LDAP_SYNC_ABI_MISMATCH);
    bad.abi_version = LDAP_SYNC_ABI_VERSION + 1;
    try_open("a later ABI version", &bad, config, length, LDAP_SYNC_ABI_MISMATCH);
    bad = host();
    bad.size = sizeof bad - 1;
    try_open("a host that is too small", &bad, config, length, LDAP_SYNC_ABI_MISMATCH);
    bad.size = 0;
    try_open("a host of no size", &bad, config, length, LDAP_SYNC_ABI_MISMATCH);
    memset(&larger, 0x5a, sizeof larger);
    larger.host = host();
    larger.host.size = sizeof larger;
    try_open("a host of a later version", &larger.host, config, length, LDAP_SYNC_OK);
    try_open("a good host", &good, config, length, LDAP_SYNC_OK);
}

static void before_install(ldap_sync_module *module) {
    struct answer answer;
    memset(&answer, 0, sizeof answer);
    check("a tick before install", worker_tick(module, sink, &answer), LDAP_SYNC_NOT_INSTALLED, &answer);
    memset(&answer, 0, sizeof answer);
    check("settings before install", config_save(module, "{\"id\":null}", 11, sink, &answer), LDAP_SYNC_NOT_INSTALLED, &answer);
    memset(&answer, 0, sizeof answer);
    check("events before install", models_changed(module, "[]", 2, sink, &answer), LDAP_SYNC_NOT_INSTALLED, &answer);
    memset(&answer, 0, sizeof answer);
    check("an action before install", request(module, "get-servers", NULL, 0, sink, &answer), LDAP_SYNC_NOT_INSTALLED, &answer);
}

/* Bodies that no hook with a body may take. */
static void bad_bodies(ldap_sync_module *module) {
    static const struct { const char *what, *json; size_t length; } bodies[] = {
        {"a body of length without a pointer", NULL, 5},
        {"a body that is no JSON", "not JSON", 8},
        {"a body that is cut short", "{\"id\":\"1\"}", 6},
        {"a body with something behind it", "{} {}", 5},
        {"a body that is text", "\"text\"", 6},
        {"a body that is a number", "7", 1},
        {"a body that is no UTF-8", "{\"id\":\"\xc3\x28\"}", 11},
        {"a body that is half a character", "\"\xe2\x82\"", 4},
        {"a body with a NUL in it", "{\"id\":\0\"1\"}", 11},
    };
    for (size_t index = 0; index < sizeof bodies / sizeof *bodies; index++) {
        struct answer answer;
        memset(&answer, 0, sizeof answer);
        check(bodies[index].what, config_save(module, bodies[index].json, bodies[index].length, sink, &answer),
              LDAP_SYNC_INVALID_ARGUMENT, &answer);
        memset(&answer, 0, sizeof answer);
        check(bodies[index].what, models_changed(module, bodies[index].json, bodies[index].length, sink, &answer),
              LDAP_SYNC_INVALID_ARGUMENT, &answer);
        memset(&answer, 0, sizeof answer);
        check(bodies[index].what, request(module, "get-server", bodies[index].json, bodies[index].length, sink, &answer),
              LDAP_SYNC_INVALID_ARGUMENT, &answer);
    }
}

static void wrong_types(ldap_sync_module *module) {
    static const char *const settings[] = {
        "[]", "{\"id\":{}}", "{\"serverName\":7,\"serverPort\":[]}", "{\"serverPort\":\"many\"}",
        "{\"serverName\":\"h\",\"serverPort\":99999999}", "{\"attributes\":\"none\"}", "{\"security\":\"maybe\"}",
        "{\"ldapType\":\"Novell\"}", "{\"serverName\":\"\"}", "{}",
    };
    for (size_t index = 0; index < sizeof settings / sizeof *settings; index++) {
        struct answer answer;
        memset(&answer, 0, sizeof answer);
        check(settings[index], config_save(module, settings[index], strlen(settings[index]), sink, &answer),
              LDAP_SYNC_INVALID_ARGUMENT, &answer);
    }
}

/* One body of `size` bytes: `before`, `filler` again and again, `after`. */
static char *long_body(const char *before, char filler, const char *after, size_t size) {
    char *body = malloc(size + 1);
    if (body == NULL) {
        abort();
    }
    memset(body, filler, size);
    memcpy(body, before, strlen(before));
    memcpy(body + size - strlen(after), after, strlen(after));
    body[size] = 0;
    return body;
}

static void huge_bodies(ldap_sync_module *module) {
    const size_t ten_megabytes = 10 * 1024 * 1024;
    struct answer answer;
    char *body = long_body("{\"serverName\":\"", 'x', "\"}", ten_megabytes);
    memset(&answer, 0, sizeof answer);
    check("a server's name of 10 MB", config_save(module, body, ten_megabytes, sink, &answer), LDAP_SYNC_INVALID_ARGUMENT, &answer);
    expect(answer.length < 65536, "a huge value is not repeated in the answer", (long)answer.length);
    free(body);
    body = long_body("{\"id\":\"", '9', "\"}", ten_megabytes);
    memset(&answer, 0, sizeof answer);
    check("an id of 10 MB", request(module, "get-server", body, ten_megabytes, sink, &answer), LDAP_SYNC_INVALID_ARGUMENT, &answer);
    expect(answer.length < 65536, "a huge id is not repeated in the answer", (long)answer.length);
    free(body);
    body = long_body("", '[', "", ten_megabytes);
    memset(&answer, 0, sizeof answer);
    check("ten million brackets", request(module, "get-server", body, ten_megabytes, sink, &answer), LDAP_SYNC_INVALID_ARGUMENT, &answer);
    memset(&answer, 0, sizeof answer);
    check("ten million brackets of events", models_changed(module, body, ten_megabytes, sink, &answer), LDAP_SYNC_INVALID_ARGUMENT, &answer);
    free(body);
    body = long_body("", 'x', "", ten_megabytes);
    memset(&answer, 0, sizeof answer);
    check("an action of 10 MB", request(module, body, NULL, 0, sink, &answer), LDAP_SYNC_INVALID_ARGUMENT, &answer);
    free(body);
}

static void bad_pointers(ldap_sync_module *module) {
    struct answer answer;
    memset(&answer, 0, sizeof answer);
    check("no action", request(module, NULL, NULL, 0, sink, &answer), LDAP_SYNC_INVALID_ARGUMENT, &answer);
    memset(&answer, 0, sizeof answer);
    check("an unknown action", request(module, "get-rich", NULL, 0, sink, &answer), LDAP_SYNC_INVALID_ARGUMENT, &answer);
    memset(&answer, 0, sizeof answer);
    check("an action that is no UTF-8", request(module, "get\xff", NULL, 0, sink, &answer), LDAP_SYNC_INVALID_ARGUMENT, &answer);
    memset(&answer, 0, sizeof answer);
    check("no handle", request(NULL, "get-servers", NULL, 0, sink, &answer), LDAP_SYNC_INVALID_ARGUMENT, &answer);
    memset(&answer, 0, sizeof answer);
    check("no handle for a tick", worker_tick(NULL, sink, &answer), LDAP_SYNC_INVALID_ARGUMENT, &answer);
    memset(&answer, 0, sizeof answer);
    check("no handle for settings", config_save(NULL, "{}", 2, sink, &answer), LDAP_SYNC_INVALID_ARGUMENT, &answer);
    memset(&answer, 0, sizeof answer);
    check("no handle for install", install(NULL, sink, &answer), LDAP_SYNC_INVALID_ARGUMENT, &answer);
    int32_t status = request(module, "get-servers", NULL, 0, NULL, NULL);
    expect(status == LDAP_SYNC_INVALID_ARGUMENT || status == LDAP_SYNC_OK, "no sink", status);
    close_module(NULL);
}

static void *ask_many_times(void *module) {
    for (int time = 0; time < 200; time++) {
        struct answer answer;
        memset(&answer, 0, sizeof answer);
        int32_t status = request(module, time % 2 ? "get-status" : "get-servers", "{}", 2, sink, &answer);
        if (status != LDAP_SYNC_OK || answer.calls != 1) {
            return (void *)"failed";
        }
    }
    return NULL;
}

static void two_threads(ldap_sync_module *module) {
    pthread_t threads[2];
    for (int index = 0; index < 2; index++) {
        expect(pthread_create(&threads[index], NULL, ask_many_times, module) == 0, "a second thread", 0);
    }
    for (int index = 0; index < 2; index++) {
        void *failed;
        pthread_join(threads[index], &failed);
        expect(failed == NULL, "two threads call one handle", 0);
    }
}

static void *symbol(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (found == NULL) {
        printf("FAILED: the library has no %s\n", name);
        exit(1);
    }
    return found;
}

int main(int count, char **arguments) {
    if (count != 5) {
        fprintf(stderr, "usage: %s LIBRARY MODULE_DIR PBX_DATABASE MEDIA_DIR\n", arguments[0]);
        return 2;
    }
    void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        printf("FAILED: %s\n", dlerror());
        return 1;
    }
    abi_version = symbol(library, "ldap_sync_abi_version");
    open_module = symbol(library, "ldap_sync_open");
    install = symbol(library, "ldap_sync_install");
    worker_tick = symbol(library, "ldap_sync_worker_tick");
    config_save = symbol(library, "ldap_sync_config_save");
    models_changed = symbol(library, "ldap_sync_models_changed");
    request = symbol(library, "ldap_sync_request");
    close_module = symbol(library, "ldap_sync_close");
    expect(abi_version() == LDAP_SYNC_ABI_VERSION, "the library's ABI version", (long)abi_version());

    char config[4096];
    snprintf(config, sizeof config, "{\"moduleDir\":\"%s\",\"pbxDatabase\":\"%s\",\"mediaDir\":\"%s\"}",
             arguments[2], arguments[3], arguments[4]);
    bad_opens(config);
    struct ldap_sync_host good = host();
    ldap_sync_module *module = NULL;
    int32_t status = open_module(&good, config, strlen(config), &module);
    expect(status == LDAP_SYNC_OK, "open", status);
    if (module != NULL) {
        struct answer answer;
        before_install(module);
        memset(&answer, 0, sizeof answer);
        check("install", install(module, sink, &answer), LDAP_SYNC_OK, &answer);
        memset(&answer, 0, sizeof answer);
        check("install again", install(module, sink, &answer), LDAP_SYNC_OK, &answer);
        bad_bodies(module);
        wrong_types(module);
        huge_bodies(module);
        bad_pointers(module);
        two_threads(module);
        memset(&answer, 0, sizeof answer);
        check("still in order", request(module, "get-servers", NULL, 0, sink, &answer), LDAP_SYNC_OK, &answer);
        expect(strstr(answer.text, "\"data\":[]") != NULL, "no bad input became a server", 0);
        close_module(module);
    }
    printf("%d expectations, %d failed\n", expectations, failures);
    return failures != 0;
}
