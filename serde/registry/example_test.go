package registry_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde/registry"
)

func Example() {
	fake := srfake.New() // a registry in this process
	defer fake.Close()
	reg, err := registry.New(registry.Config{URLs: []string{fake.URL()}})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	id, err := reg.Register(ctx, "numbers-value", registry.Schema{Text: `"long"`})
	fmt.Println(id, err)
	s, err := reg.SchemaByID(ctx, id)
	fmt.Println(s.Type, s.Text, err)
	// Output:
	// 1 <nil>
	// AVRO "long" <nil>
}

func ExampleConfig_Validate() {
	err := registry.Config{URLs: []string{"localhost:8081"}, User: "u", Token: "t"}.Validate()
	fmt.Println(err)
	// Output:
	// registry: URLs[0]: (unreadable URL): must begin with http:// or https://
	// registry: Token and User: only one of them can be sent
}

func ExampleError() {
	fake := srfake.New()
	defer fake.Close()
	reg, err := registry.New(registry.Config{URLs: []string{fake.URL()}})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = reg.SchemaByID(context.Background(), 404)
	var e *registry.Error
	fmt.Println(errors.As(err, &e), e.Op, e.StatusCode, e.Code)
	fmt.Println(errors.Is(err, registry.ErrNotFound), pipeline.IsFatal(err), pipeline.IsRetriable(err))
	// Output:
	// true get schema 404 404 40403
	// true false false
}

func ExampleClient_Compatibility() {
	fake := srfake.New(srfake.WithGlobalCompat(sr.CompatBackward))
	defer fake.Close()
	client, err := registry.New(registry.Config{URLs: []string{fake.URL()}})
	if err != nil {
		fmt.Println(err)
		return
	}
	level, err := client.Compatibility(context.Background(), "orders-value")
	fmt.Println(level, err)
	fits, why, err := client.Compatible(context.Background(), "orders-value", registry.Schema{Text: `"string"`})
	fmt.Println(fits, why, err)
	// Output:
	// BACKWARD <nil>
	// true [] <nil>
}

// Credentials go over https, or to this machine.
func ExampleConfig_tokenFunc() {
	cfg := registry.Config{
		URLs:      []string{"http://registry.example:8081"},
		TokenFunc: func(context.Context) (string, error) { return "from a file that is replaced", nil },
	}
	fmt.Println(cfg.Validate())
	cfg.URLs[0] = "https://registry.example:8081"
	fmt.Println(cfg.Validate())
	// Output:
	// registry: URLs[0]: http://registry.example:8081: credentials need https, or AllowPlaintextCredentials
	// <nil>
}
