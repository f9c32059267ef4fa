// The judge of wolfSSL: a handshake in memory.
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

struct pipe {
  char bytes[1 << 16];
  size_t begin, end;
};

// The two directions, as one of the two ends sees them.
struct wire {
  struct pipe *in, *out;
};

static int receive(WOLFSSL* ssl, char* bytes, int size, void* context) {
  (void)ssl;
  struct pipe* in = ((struct wire*)context)->in;
  size_t count = in->end - in->begin;
  if (count == 0) {
    return WOLFSSL_CBIO_ERR_WANT_READ;
  }
  if (count > (size_t)size) {
    count = (size_t)size;
  }
  memcpy(bytes, in->bytes + in->begin, count);
  in->begin += count;
  return (int)count;
}

static int transmit(WOLFSSL* ssl, char* bytes, int size, void* context) {
  (void)ssl;
  struct pipe* out = ((struct wire*)context)->out;
  if ((size_t)size > sizeof out->bytes - out->end) {
    return WOLFSSL_CBIO_ERR_GENERAL;
  }
  memcpy(out->bytes + out->end, bytes, (size_t)size);
  out->end += (size_t)size;
  return size;
}

static WOLFSSL* new_session(WOLFSSL_CTX* context, struct wire* wire) {
  wolfSSL_CTX_SetIORecv(context, receive);
  wolfSSL_CTX_SetIOSend(context, transmit);
  WOLFSSL* ssl = wolfSSL_new(context);
  wolfSSL_SetIOReadCtx(ssl, wire);
  wolfSSL_SetIOWriteCtx(ssl, wire);
  return ssl;
}

static void expect_name(WOLFSSL* client, const char* name) {
  unsigned char address[sizeof(struct in6_addr)];
  if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1) {
    wolfSSL_X509_VERIFY_PARAM_set1_ip_asc(wolfSSL_get0_param(client), name);
  } else {
    wolfSSL_check_domain_name(client, name);
  }
}

// Takes both ends as far as they come: 0 when the client is content, or the first error.
static int shake_hands(WOLFSSL* client, WOLFSSL* server) {
  while (wolfSSL_connect(client) != WOLFSSL_SUCCESS) {
    int error = wolfSSL_get_error(client, 0);
    if (error == WOLFSSL_ERROR_WANT_READ && wolfSSL_accept(server) != WOLFSSL_SUCCESS) {
      error = wolfSSL_get_error(server, 0);
    }
    if (error != WOLFSSL_ERROR_WANT_READ) {
      return error;
    }
  }
  return 0;
}

static void judge(const char* root, const char* certificate, const char* key, const char* name) {
  WOLFSSL_CTX* of_client = wolfSSL_CTX_new(wolfTLS_client_method());
  WOLFSSL_CTX* of_server = wolfSSL_CTX_new(wolfTLS_server_method());
  wolfSSL_CTX_set_verify(of_client, WOLFSSL_VERIFY_PEER, NULL);
  const bool loaded =
      wolfSSL_CTX_load_verify_locations(of_client, root, NULL) == WOLFSSL_SUCCESS &&
      wolfSSL_CTX_use_certificate_file(of_server, certificate, WOLFSSL_FILETYPE_PEM) ==
          WOLFSSL_SUCCESS &&
      wolfSSL_CTX_use_PrivateKey_file(of_server, key, WOLFSSL_FILETYPE_PEM) == WOLFSSL_SUCCESS;
  if (loaded) {
    struct pipe up = {.end = 0}, down = {.end = 0};
    WOLFSSL* client = new_session(of_client, &(struct wire){.in = &down, .out = &up});
    WOLFSSL* server = new_session(of_server, &(struct wire){.in = &up, .out = &down});
    expect_name(client, name);
    const int error = shake_hands(client, server);
    char words[WOLFSSL_MAX_ERROR_SZ];
    puts(error == 0 ? "accepted" : wolfSSL_ERR_error_string((unsigned long)error, words));
    wolfSSL_free(client);
    wolfSSL_free(server);
  } else {
    puts("a file cannot be loaded, or the key is another's");
  }
  wolfSSL_CTX_free(of_client);
  wolfSSL_CTX_free(of_server);
}

int main(void) {
  wolfSSL_Init();
  char line[1 << 14];
  while (fgets(line, sizeof line, stdin) != NULL) {
    const char* root = strtok(line, "\t");
    const char* certificate = strtok(NULL, "\t");
    const char* key = strtok(NULL, "\t");
    judge(root, certificate, key, strtok(NULL, "\n"));
  }
  wolfSSL_Cleanup();
}
