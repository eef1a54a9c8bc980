// Writes through Sentinel with go-redis: one key after the other, each acknowledged one on a line of its own.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

func main() {
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName:       os.Args[2],
		SentinelAddrs:    strings.Split(os.Args[1], ","),
		SentinelPassword: os.Args[4],
		ReadTimeout:      500 * time.Millisecond,
		WriteTimeout:     500 * time.Millisecond,
		MaxRetries:       -1,
	})
	for number := 1; ; number++ {
		key := fmt.Sprintf("%s-%d", os.Args[3], number)
		if client.Set(context.Background(), key, number, 0).Err() == nil {
			fmt.Println(key)
		} else {
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
