// Go's crypto/x509 on one chain: `main FOLDER KIND`. For each line on standard input it verifies every leaf once, parsed
// afresh, and answers "LEAVES CPU-SECONDS". The chain's other certificates are kept parsed. No revocation: it has none.
// `main FOLDER KIND found` counts those for which it finds a path, instead of failing: "FOUND CPU-SECONDS".
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

func blocks(path string) (found [][]byte) {
	data, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			return found
		}
		found, data = append(found, block.Bytes), rest
	}
}

func pool(path string) *x509.CertPool {
	made := x509.NewCertPool()
	for _, der := range blocks(path) {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			panic(err)
		}
		made.AddCert(certificate)
	}
	return made
}

func cpu() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return float64(used.Utime.Sec+used.Stime.Sec) + float64(used.Utime.Usec+used.Stime.Usec)/1e6
}

func main() {
	folder, counting := os.Args[1], len(os.Args) > 3 && os.Args[3] == "found"
	leaves := blocks(filepath.Join(folder, "leaves.pem"))
	options := x509.VerifyOptions{
		Roots:         pool(filepath.Join(folder, "anchor.pem")),
		Intermediates: pool(filepath.Join(folder, "pool.pem")),
		CurrentTime:   time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		started, found := cpu(), 0
		for _, der := range leaves {
			leaf, err := x509.ParseCertificate(der)
			if err == nil {
				_, err = leaf.Verify(options)
			}
			if err == nil {
				found++
			} else if !counting {
				panic(err)
			}
		}
		fmt.Println(found, cpu()-started)
	}
}
