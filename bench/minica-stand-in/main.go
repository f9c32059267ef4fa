// What jsha/minica does, written from a description of its behaviour, for bench/run on machines that
// cannot have the real one: the same command line, files, keys and certificates, in the same order,
// and like it without any fsync. It is no use for anything but to be timed.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"math"
	"math/big"
	"net"
	"os"
	"regexp"
	"strings"
	"time"
)

type issuer struct {
	key         crypto.Signer
	certificate *x509.Certificate
}

func generateKey(algorithm string) (crypto.Signer, error) {
	if strings.EqualFold(algorithm, "rsa") {
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
}

func writeNew(path, label string, der []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0600)
	if err != nil {
		return err
	}
	defer file.Close()
	return pem.Encode(file, &pem.Block{Type: label, Bytes: der})
}

// A new key, in a new file.
func makeKey(path, algorithm string) (crypto.Signer, error) {
	key, err := generateKey(algorithm)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writeNew(path, "PRIVATE KEY", der)
}

func readPem(path string) (*pem.Block, error) {
	contents, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(contents)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM found", path)
	}
	return block, nil
}

func readKey(path string) (crypto.Signer, error) {
	block, err := readPem(path)
	if err != nil {
		return nil, err
	}
	switch block.Type {
	case "PRIVATE KEY":
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY", "ECDSA PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	}
	return nil, fmt.Errorf("%s: incorrect PEM type %s", path, block.Type)
}

func readIssuer(keyPath, certificatePath string) (*issuer, error) {
	key, err := readKey(keyPath)
	if err != nil {
		return nil, err
	}
	block, err := readPem(certificatePath)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	theirs, err := x509.MarshalPKIXPublicKey(certificate.PublicKey)
	if err != nil {
		return nil, err
	}
	ours, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	if string(ours) != string(theirs) {
		return nil, fmt.Errorf("public key in CA certificate %s doesn't match private key in %s",
			certificatePath, keyPath)
	}
	return &issuer{key, certificate}, nil
}

func serialNumber() (*big.Int, error) {
	return rand.Int(rand.Reader, big.NewInt(math.MaxInt64))
}

func keyIdentifier(key crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, err
	}
	identifier := sha1.Sum(info.Key.Bytes)
	return identifier[:], nil
}

func makeIssuer(keyPath, certificatePath, algorithm string) (*issuer, error) {
	key, err := makeKey(keyPath, algorithm)
	if err != nil {
		return nil, err
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	identifier, err := keyIdentifier(key.Public())
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "minica root ca " + hex.EncodeToString(serial.Bytes()[:3])},
		SerialNumber:          serial,
		NotBefore:             time.Now(),
		NotAfter:              time.Now().AddDate(100, 0, 0),
		SubjectKeyId:          identifier,
		AuthorityKeyId:        identifier,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if err := writeNew(certificatePath, "CERTIFICATE", der); err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &issuer{key, certificate}, nil
}

func getIssuer(keyPath, certificatePath, algorithm string) (*issuer, error) {
	root, err := readIssuer(keyPath, certificatePath)
	if !errors.Is(err, fs.ErrNotExist) {
		return root, err
	}
	if _, err := makeIssuer(keyPath, certificatePath, algorithm); err != nil {
		return nil, err
	}
	return readIssuer(keyPath, certificatePath)
}

func sign(root *issuer, domains []string, addresses []net.IP, algorithm string) error {
	name := ""
	if len(domains) > 0 {
		name = domains[0]
	} else {
		name = addresses[0].String()
	}
	directory := strings.ReplaceAll(name, "*", "_")
	if err := os.Mkdir(directory, 0700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	key, err := makeKey(directory+"/key.pem", algorithm)
	if err != nil {
		return err
	}
	serial, err := serialNumber()
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		DNSNames:              domains,
		IPAddresses:           addresses,
		Subject:               pkix.Name{CommonName: name},
		SerialNumber:          serial,
		NotBefore:             time.Now(),
		NotAfter:              time.Now().AddDate(2, 0, 30),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, root.certificate, key.Public(), root.key)
	if err != nil {
		return err
	}
	return writeNew(directory+"/cert.pem", "CERTIFICATE", der)
}

func elements(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

func run() error {
	key := flag.String("ca-key", "minica-key.pem", "the root's key")
	certificate := flag.String("ca-cert", "minica.pem", "the root's certificate")
	algorithm := flag.String("ca-alg", "ecdsa", "ecdsa or rsa")
	domainList := flag.String("domains", "", "names, with commas between")
	addressList := flag.String("ip-addresses", "", "addresses, with commas between")
	flag.Parse()
	domains := elements(*domainList)
	valid := regexp.MustCompile(`^[A-Za-z0-9.*-]+$`)
	for _, domain := range domains {
		if !valid.MatchString(domain) {
			return fmt.Errorf("invalid domain name %q", domain)
		}
	}
	var addresses []net.IP
	for _, text := range elements(*addressList) {
		address := net.ParseIP(text)
		if address == nil {
			return fmt.Errorf("invalid IP address %q", text)
		}
		addresses = append(addresses, address)
	}
	if len(domains)+len(addresses) == 0 {
		flag.Usage()
		os.Exit(1)
	}
	root, err := getIssuer(*key, *certificate, *algorithm)
	if err != nil {
		return err
	}
	return sign(root, domains, addresses, *algorithm)
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
