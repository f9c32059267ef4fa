#!/bin/sh
# The judge of GnuTLS. certtool takes an IP address as a host name, too. The profile `medium` asks
# for the strength of RSA with 2048 bits. It does not read the key.
serverAuth=1.3.6.1.5.5.7.3.1
tab=$(printf '\t')
while IFS=$tab read -r root certificate _ name; do
  words=$(certtool --verify --load-ca-certificate "$root" --infile "$certificate" \
    --verify-hostname "$name" --verify-purpose "$serverAuth" --verify-profile medium 2>&1) &&
    words=accepted
  printf '%s\n' "$words" | paste -sd ' '
done
