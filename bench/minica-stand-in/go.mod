module minica-stand-in

go 1.19
