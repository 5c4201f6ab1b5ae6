/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The C ABI of ModuleLdapSync, between a PBX and the library.

   UTF-8 JSON in and out. Every pointer is borrowed for the length of the call; no memory changes owner. Any thread
   may call a handle. Callbacks happen only during a call, possibly on a thread of the library, and must not call back
   in. The sink is called exactly once per hook, also for errors. The hooks return an ldap_sync_status.

   Generated from crates/plugin-abi; edit that, then run
   UPDATE_EXPECT=1 cargo test --test module the_header */

#ifndef LDAP_SYNC_H
#define LDAP_SYNC_H

#include <stddef.h>
#include <stdint.h>

// One open module: opaque, made by `ldap_sync_open`, ended by `ldap_sync_close`.
typedef struct ldap_sync_module ldap_sync_module;

// Version of this ABI. A host passes it in [`ldap_sync_host::abi_version`].
#define LDAP_SYNC_ABI_VERSION 1

// Status codes of every hook.
enum ldap_sync_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Done; the answer's `result` is true.
  LDAP_SYNC_OK = 0,
  // A pointer, the JSON, the action or a field is wrong; `messages.error` says which.
  LDAP_SYNC_INVALID_ARGUMENT = 1,
  // The host was built for another version of this ABI.
  LDAP_SYNC_ABI_MISMATCH = 2,
  // The module's database does not exist: call `ldap_sync_install` first.
  LDAP_SYNC_NOT_INSTALLED = 3,
  // Another run is under way.
  LDAP_SYNC_BUSY = 4,
  // Held, or not possible; the answer says why.
  LDAP_SYNC_REFUSED = 5,
  // The PBX's database or the module's own cannot be used.
  LDAP_SYNC_DATABASE = 6,
  // The directory cannot be used.
  LDAP_SYNC_DIRECTORY = 7,
  // The run was cancelled; what it had done stays and is reported.
  LDAP_SYNC_CANCELLED = 8,
  // An earlier call of this handle panicked: close it and open a new one.
  LDAP_SYNC_POISONED = 98,
  // The library panicked; the panic is in the log and the handle is poisoned.
  LDAP_SYNC_PANIC = 99,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ldap_sync_status ldap_sync_status;
#else
typedef int32_t ldap_sync_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What the PBX gives at open. Any callback may be NULL.
typedef struct ldap_sync_host {
  // `LDAP_SYNC_ABI_VERSION` the host was built with.
  uint32_t abi_version;
  // `sizeof(ldap_sync_host)`: smaller than version 1's is refused, larger accepted.
  uint32_t size;
  // Handed back unchanged to every callback.
  void *context;
  // One line of the log; level 1 error, 2 warning, 3 information, 4 debug, 5 trace.
  void (*log)(void *context, int32_t level, const char *utf8, size_t length);
  // A JSON array of model events as the PBX itself publishes them; 0 means delivered, anything else: retried later.
  int32_t (*announce)(void *context, const char *json, size_t length);
  // Progress of a run as JSON: runId, phase, done, total, rate, etaSeconds.
  void (*progress)(void *context, const char *json, size_t length);
  // Takes the PBX's own write mutex, waiting at most `timeout_ms` milliseconds; 0 means held, anything else: busy.
  int32_t (*begin_write)(void *context, uint32_t timeout_ms);
  // Releases the mutex that `begin_write` took.
  void (*end_write)(void *context);
  // Unix time in milliseconds; the system clock is used when NULL.
  int64_t (*now)(void *context);
} ldap_sync_host;

// Takes a hook's answer: `length` bytes of UTF-8 JSON, valid only during the call.
typedef void (*ldap_sync_sink)(void *context, const char *utf8, size_t length);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The ABI version of the library.
extern uint32_t ldap_sync_abi_version(void);

// Opens the module. `config_json`: `{"moduleDir": "...", "pbxDatabase": "...", "mediaDir": "..."}`.
// On success `*out` is the handle; otherwise it is NULL. Why it failed goes to the host's log.
extern int32_t ldap_sync_open(const struct ldap_sync_host *host,
                              const char *config_json,
                              size_t length,
                              ldap_sync_module **out);

// Hook "module install": creates or migrates the module's own database and its key.
extern int32_t ldap_sync_install(ldap_sync_module *module, ldap_sync_sink sink, void *context);

// Hook "module uninstall". With `keep_settings` not 0 the module's database stays for the next install.
extern int32_t ldap_sync_uninstall(ldap_sync_module *module, int32_t keep_settings, ldap_sync_sink sink, void *context);

// Hook "worker tick": does what is due and returns.
extern int32_t ldap_sync_worker_tick(ldap_sync_module *module, ldap_sync_sink sink, void *context);

// Hook "config save": checks and stores the settings of one server; answers the saved server.
extern int32_t ldap_sync_config_save(ldap_sync_module *module,
                                     const char *json,
                                     size_t length,
                                     ldap_sync_sink sink,
                                     void *context);

// Hook "PBX-side edits": takes an array of model events, keeps them and returns at once.
extern int32_t ldap_sync_models_changed(ldap_sync_module *module,
                                        const char *json,
                                        size_t length,
                                        ldap_sync_sink sink,
                                        void *context);

// Serves one action of the admin page. `action` is NUL-terminated; `json` may be NULL with length 0.
extern int32_t ldap_sync_request(ldap_sync_module *module,
                                 const char *action,
                                 const char *json,
                                 size_t length,
                                 ldap_sync_sink sink,
                                 void *context);

// Closes the handle, also a poisoned one. NULL is ignored.
extern void ldap_sync_close(ldap_sync_module *module);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LDAP_SYNC_H */
