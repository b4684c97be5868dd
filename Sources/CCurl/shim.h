// libcurl's setopt and getinfo are variadic C functions, which Swift cannot call: one typed door for each kind.
#pragma once
#include <curl/curl.h>

static inline CURLcode jc_curl_setopt_long(CURL *h, CURLoption o, long v) { return curl_easy_setopt(h, o, v); }
static inline CURLcode jc_curl_setopt_offset(CURL *h, CURLoption o, curl_off_t v) { return curl_easy_setopt(h, o, v); }
static inline CURLcode jc_curl_setopt_string(CURL *h, CURLoption o, const char *v) { return curl_easy_setopt(h, o, v); }
static inline CURLcode jc_curl_setopt_pointer(CURL *h, CURLoption o, void *v) { return curl_easy_setopt(h, o, v); }
static inline CURLcode jc_curl_setopt_list(CURL *h, CURLoption o, struct curl_slist *v) { return curl_easy_setopt(h, o, v); }
typedef size_t (*jc_curl_data_callback)(char *, size_t, size_t, void *);
static inline CURLcode jc_curl_setopt_data(CURL *h, CURLoption o, jc_curl_data_callback v) { return curl_easy_setopt(h, o, v); }
typedef int (*jc_curl_progress_callback)(void *, curl_off_t, curl_off_t, curl_off_t, curl_off_t);
static inline CURLcode jc_curl_setopt_progress(CURL *h, jc_curl_progress_callback v) { return curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, v); }
typedef curl_socket_t (*jc_curl_socket_callback)(void *, curlsocktype, struct curl_sockaddr *);
static inline CURLcode jc_curl_setopt_socket(CURL *h, jc_curl_socket_callback v) { return curl_easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, v); }
static inline CURLcode jc_curl_getinfo_long(CURL *h, CURLINFO i, long *v) { return curl_easy_getinfo(h, i, v); }
static inline CURLcode jc_curl_getinfo_string(CURL *h, CURLINFO i, char **v) { return curl_easy_getinfo(h, i, v); }
