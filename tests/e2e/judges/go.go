// The judge of Go: crypto/x509, and crypto/tls to pair key and certificate. Needs no module, and
// no Go later than 1.19.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
)

func judge(rootFile, leafFile, keyFile, name string) error {
	root, err := os.ReadFile(rootFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(root) {
		return fmt.Errorf("%s: no certificate", rootFile)
	}
	pair, err := tls.LoadX509KeyPair(leafFile, keyFile)
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return err
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name})
	return err
}

func main() {
	cases := bufio.NewScanner(os.Stdin)
	for cases.Scan() {
		field := strings.Split(cases.Text(), "\t")
		if err := judge(field[0], field[1], field[2], field[3]); err != nil {
			fmt.Println(err)
		} else {
			fmt.Println("accepted")
		}
	}
}
