/* Status codes, the thread's last message, the log. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_STATUS_H
#define PARE_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define PARE_API __attribute__((visibility("default")))
#else
#define PARE_API
#endif

/* Every status that a pare function returns: name, number, meaning. Numbers are part of the ABI. */
#define PARE_STATUS_LIST(X)                                                             \
  X(OK, 0, "success")                                                                   \
  X(ERR_ARGUMENT, 1, "an argument is NULL, closed, or out of its range")                \
  X(ERR_MEMORY, 2, "out of host memory")                                                \
  X(ERR_LIMIT, 3, "over the device memory limit, or out of device memory")              \
  X(ERR_SHAPE, 4, "shapes do not fit each other or the operation")                      \
  X(ERR_TYPE, 5, "the operation does not take this dtype")                              \
  X(ERR_SELECTOR, 6, "a device selector is malformed or matches nothing")               \
  X(ERR_DEVICE, 7, "a driver call failed")                                              \
  X(ERR_KERNEL, 8, "a kernel is missing, does not build, or no variant can be trusted") \
  X(ERR_IO, 9, "a file cannot be read or written")                                      \
  X(ERR_FORMAT, 10, "a file's content is malformed")                                    \
  X(ERR_UNSUPPORTED, 11, "not supported on this device")

typedef enum pare_status {
#define PARE_STATUS_ENUM(name, number, meaning) PARE_##name = number,
  PARE_STATUS_LIST(PARE_STATUS_ENUM)
#undef PARE_STATUS_ENUM
} pare_status;

/* "PARE_ERR_SHAPE" for PARE_ERR_SHAPE; "unknown status" for a number that is none. Never NULL. */
PARE_API const char *pare_status_name(pare_status status);

/* The meaning of a status in a few words. Never NULL. */
PARE_API const char *pare_status_meaning(pare_status status);

/* What the last failing call on this thread asked for, what it found and what to do; "" if none failed yet.
 * Valid until the next failing call on the same thread. */
PARE_API const char *pare_message(void);

typedef enum pare_log_level { PARE_LOG_ERROR, PARE_LOG_WARN, PARE_LOG_INFO, PARE_LOG_DEBUG } pare_log_level;

/* Called with one line, no newline, from any thread; it must not call pare. */
typedef void (*pare_log_callback)(pare_log_level level, const char *line, void *user);

/* Lines of `level` or graver go to `callback`; NULL (the initial state) discards them. The library itself never prints.
 */
PARE_API void pare_log_set(pare_log_callback callback, void *user, pare_log_level level);

/* "0.1.0" */
PARE_API const char *pare_version(void);

#ifdef __cplusplus
}
#endif
#endif
