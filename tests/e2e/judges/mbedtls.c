// The judge of mbedTLS: its verifier of chain and name, and the checks of key and usages that its
// TLS makes beside.
#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>
#include <string.h>

static void judge(const char* root_file, const char* leaf_file, const char* key_file,
                  const char* name) {
  mbedtls_x509_crt root, leaf;
  mbedtls_pk_context key;
  mbedtls_x509_crt_init(&root);
  mbedtls_x509_crt_init(&leaf);
  mbedtls_pk_init(&key);
  uint32_t findings = 0;
  int error = mbedtls_x509_crt_parse_file(&root, root_file);
  if (error == 0) {
    error = mbedtls_x509_crt_parse_file(&leaf, leaf_file);
  }
  if (error == 0) {
    error = mbedtls_pk_parse_keyfile(&key, key_file, NULL);
  }
  if (error == 0) {
    error = mbedtls_pk_check_pair(&leaf.pk, &key);
  }
  if (error == 0) {
    error = mbedtls_x509_crt_check_key_usage(&leaf, MBEDTLS_X509_KU_DIGITAL_SIGNATURE);
  }
  if (error == 0) {
    error = mbedtls_x509_crt_check_extended_key_usage(&leaf, MBEDTLS_OID_SERVER_AUTH,
                                                      MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH));
  }
  if (error == 0) {
    error = mbedtls_x509_crt_verify(&leaf, &root, NULL, name, &findings, NULL, NULL);
  }
  char words[1024] = "accepted";
  if (findings != 0) {
    mbedtls_x509_crt_verify_info(words, sizeof words, "", findings);
    for (char* end; (end = strchr(words, '\n')) != NULL; *end = ' ') {
    }
  } else if (error != 0) {
    mbedtls_strerror(error, words, sizeof words);
  }
  puts(words);
  mbedtls_pk_free(&key);
  mbedtls_x509_crt_free(&leaf);
  mbedtls_x509_crt_free(&root);
}

int main(void) {
  char line[1 << 14];
  while (fgets(line, sizeof line, stdin) != NULL) {
    const char* root = strtok(line, "\t");
    const char* certificate = strtok(NULL, "\t");
    const char* key = strtok(NULL, "\t");
    judge(root, certificate, key, strtok(NULL, "\n"));
  }
}
