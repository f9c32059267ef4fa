module pki/bench/minica

go 1.15

require github.com/jsha/minica v1.1.0
