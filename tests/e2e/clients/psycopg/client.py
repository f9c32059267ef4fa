import sys

import psycopg

with psycopg.connect() as connection:
    [answer] = connection.execute(sys.argv[1]).fetchone()
    print(answer)
