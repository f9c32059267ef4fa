#!/bin/sh
# The judge of OpenSSL: `openssl verify`, as strict as it gets, for a TLS server. It does not read
# the key.
tab=$(printf '\t')
while IFS=$tab read -r root certificate _ name; do
  case $name in
    *:*) check=-verify_ip ;;
    *[!0-9.]*) check=-verify_hostname ;;
    *) check=-verify_ip ;;
  esac
  words=$(openssl verify -x509_strict -check_ss_sig -purpose sslserver "$check" "$name" \
    -no-CApath -no-CAstore -CAfile "$root" "$certificate" 2>&1) && words=accepted
  printf '%s\n' "$words" | paste -sd ' '
done
