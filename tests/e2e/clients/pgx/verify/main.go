// Verify connects as each line of stdin says, a host, a port and a file of roots between tabs, and
// answers with a line: what the server or Go has to say to that. Every host is 127.0.0.1.
package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer := "connected"
		if err := attempt(strings.Split(lines.Text(), "\t")); err != nil {
			answer = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Println(answer)
	}
}

func attempt(fields []string) error {
	host, port, roots := fields[0], fields[1], fields[2]
	config, err := pgx.ParseConfig(fmt.Sprintf(
		"host=%s port=%s user=somebody dbname=anything sslmode=verify-full sslrootcert=%s",
		host, port, roots))
	if err != nil {
		return err
	}
	config.LookupFunc = func(context.Context, string) ([]string, error) {
		return []string{"127.0.0.1"}, nil
	}
	config.DialFunc = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	}
	conn, err := pgx.ConnectConfig(context.Background(), config)
	if err != nil {
		return err
	}
	return conn.Close(context.Background())
}
