/* Shows what a synchronisation would do, as a C program does it: opens the module, asks for a preview, prints the answer.
 *
 *     cc -std=c11 -I include examples/preview.c -L target/debug -l module_ldap_sync -o preview
 *     LD_LIBRARY_PATH=target/debug ./preview MODULE_DIR PBX_DATABASE MEDIA_DIR SERVER_ID
 *
 * Exit status: the status of the library, or 64 when called wrongly. */
#include <stdio.h>
#include <string.h>

#include "../include/ldap_sync.h"

/* Why a call failed is told through the log. */
static void print_log(void *context, int32_t level, const char *utf8, size_t length) {
    (void)context;
    if (level <= 2) fprintf(stderr, "%s: %.*s\n", level == 1 ? "error" : "warning", (int)length, utf8);
}

/* Called once per hook; the text belongs to the library and is gone after this call. */
static void print_answer(void *context, const char *utf8, size_t length) {
    (void)context;
    fwrite(utf8, 1, length, stdout);
    putchar('\n');
}

int main(int argc, char **argv) {
    char config[4096], body[64];
    /* This program does not escape JSON strings, so it takes no path that would need it. */
    for (int i = 1; i < argc; i++)
        if (strpbrk(argv[i], "\"\\")) argc = 0;
    if (argc != 5) {
        fprintf(stderr, "usage: preview MODULE_DIR PBX_DATABASE MEDIA_DIR SERVER_ID\n");
        return 64;
    }
    int config_length = snprintf(config, sizeof config, "{\"moduleDir\":\"%s\",\"pbxDatabase\":\"%s\",\"mediaDir\":\"%s\"}",
                                 argv[1], argv[2], argv[3]);
    int body_length = snprintf(body, sizeof body, "{\"id\":\"%s\"}", argv[4]);
    if (config_length >= (int)sizeof config || body_length >= (int)sizeof body) return 64;

    if (ldap_sync_abi_version() != LDAP_SYNC_ABI_VERSION) {
        fprintf(stderr, "the library has ABI version %u, this program %u\n", (unsigned)ldap_sync_abi_version(),
                (unsigned)LDAP_SYNC_ABI_VERSION);
        return LDAP_SYNC_ABI_MISMATCH;
    }
    /* A preview writes nothing, so there is nothing to announce and no write mutex to take. */
    ldap_sync_host host = {.abi_version = LDAP_SYNC_ABI_VERSION, .size = sizeof host, .log = print_log};
    ldap_sync_module *module = NULL;
    int32_t status = ldap_sync_open(&host, config, (size_t)config_length, &module);
    if (status == LDAP_SYNC_OK)
        status = ldap_sync_request(module, "preview-sync", body, (size_t)body_length, print_answer, NULL);
    if (status != LDAP_SYNC_OK) fprintf(stderr, "the preview failed with status %d\n", (int)status);
    ldap_sync_close(module);
    return status;
}
