// Go's reader of revocation lists: ROOT LIST CERTIFICATE.
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

func read(file string) []byte {
	text, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	block, rest := pem.Decode(text)
	if block == nil || len(rest) != 0 {
		panic(file + ": not one block")
	}
	return block.Bytes
}

func certificate(file string) *x509.Certificate {
	certificate, err := x509.ParseCertificate(read(file))
	if err != nil {
		panic(err)
	}
	return certificate
}

func main() {
	list, err := x509.ParseRevocationList(read(os.Args[2]))
	if err != nil {
		panic(err)
	}
	if err := list.CheckSignatureFrom(certificate(os.Args[1])); err != nil {
		panic(err)
	}
	leaf := certificate(os.Args[3])
	for _, revoked := range list.RevokedCertificates {
		if revoked.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
			fmt.Println("revoked")
			return
		}
	}
	fmt.Println("accepted")
}
