package kafka

import (
	"sync"
	"time"

	"github.com/leat-stream/leat/internal/send"
)

// metering keeps the counters of a sink's producers, one after the other.
type metering struct {
	mu   sync.Mutex
	p    *send.Producer // the last, which may be closed
	past Metrics        // of those before it
}

// measure begins to count a new producer.
func (m *metering) measure(p *send.Producer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.past, m.p = m.metrics(), p
}

func (m *metering) metrics() Metrics {
	if m.p == nil {
		return Metrics{At: time.Now()}
	}
	return metricsOf(m.past, m.p.Stats())
}

// Metrics returns the counters of the run's producer as of now; those of producers that
// it has replaced are included. Pending is 0. It may be called from any goroutine.
func (s *Sink) Metrics() Metrics {
	s.metering.mu.Lock()
	m := s.metering.metrics()
	s.metering.mu.Unlock()
	m.InterceptorFailures = s.interceptors.failures()
	return m
}

// RequestLatency is [Producer.RequestLatency] of the run's producer.
func (s *Sink) RequestLatency(quantile float64) time.Duration {
	s.metering.mu.Lock()
	defer s.metering.mu.Unlock()
	if s.metering.p == nil {
		return 0
	}
	return s.metering.p.RequestLatency(quantile)
}
