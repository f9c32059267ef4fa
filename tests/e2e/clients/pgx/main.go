package main

import (
	"context"
	"fmt"
	"os"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	conn, err := connect()
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	var answer string
	if err := conn.QueryRow(context.Background(), os.Args[1]).Scan(&answer); err != nil {
		return err
	}
	fmt.Println(answer)
	return nil
}
