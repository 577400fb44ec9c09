package streaming

import (
	"crypto/rand"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	tokenLife = time.Minute // from the answer to the client's request
	maxTokens = 1000        // that wait to be used
)

// ticket is one request that was answered with a URL.
type ticket struct {
	kind  string
	serve http.HandlerFunc
	timer *time.Timer
}

// tickets are those that wait, by token. The zero value is ready.
type tickets struct {
	mu   sync.Mutex
	open map[string]*ticket
}

// issue makes a token for one request.
func (t *tickets) issue(kind string, life time.Duration, serve http.HandlerFunc) (string, error) {
	token := rand.Text()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.open) >= maxTokens {
		return "", status.Errorf(codes.ResourceExhausted, "%s: %d URLs wait for their clients already", kind, maxTokens)
	}
	if t.open == nil {
		t.open = map[string]*ticket{}
	}
	t.open[token] = &ticket{kind, serve, time.AfterFunc(life, func() { t.take(kind, token) })}
	return token, nil
}

// take uses a token up; nil when there is none of that kind.
func (t *tickets) take(kind, token string) *ticket {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := t.open[token]
	if found == nil || found.kind != kind {
		return nil
	}
	delete(t.open, token)
	found.timer.Stop()
	return found
}

// len is how many wait.
func (t *tickets) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}
