// Command knative-judge says of Knative Services what Knative's webhook would: it reads one JSON object a line,
// {"features": {NAME: VALUE}, "service": {...}}, the features as in the ConfigMap config-features, and answers each with
// a line, {"refused": WHY, "made": {...}}: why it is refused, empty where it is taken, and what defaults make of it.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"os"

	"knative.dev/pkg/apis"
	"knative.dev/serving/pkg/apis/config"
	v1 "knative.dev/serving/pkg/apis/serving/v1"
	"knative.dev/serving/pkg/autoscaler/config/autoscalerconfig"

	autoscaler "knative.dev/serving/pkg/autoscaler/config"
)

type question struct {
	Features map[string]string `json:"features"`
	Service  json.RawMessage   `json:"service"`
}

type answer struct {
	Refused string      `json:"refused"`
	Made    *v1.Service `json:"made"`
}

func main() {
	out := json.NewEncoder(os.Stdout)
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			if err := out.Encode(judged(line)); err != nil {
				log.Fatal(err)
			}
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
	}
}

func judged(line []byte) answer {
	var asked question
	if err := json.Unmarshal(line, &asked); err != nil {
		log.Fatal(err)
	}
	service := &v1.Service{}
	if err := json.Unmarshal(asked.Service, service); err != nil {
		return answer{Refused: err.Error()}
	}
	ctx := apis.WithinCreate(within(asked.Features))
	service.SetDefaults(ctx)
	if found := service.Validate(ctx); found != nil {
		return answer{Refused: found.Error(), Made: service}
	}
	return answer{Made: service}
}

// within has what Knative is configured by: its own defaults, but for the features.
func within(features map[string]string) context.Context {
	on, err := config.NewFeaturesConfigFromMap(features)
	if err != nil {
		log.Fatal(err)
	}
	defaults, err := config.NewDefaultsConfigFromMap(map[string]string{})
	if err != nil {
		log.Fatal(err)
	}
	var scaling *autoscalerconfig.Config
	if scaling, err = autoscaler.NewConfigFromMap(map[string]string{}); err != nil {
		log.Fatal(err)
	}
	return config.ToContext(context.Background(), &config.Config{Features: on, Defaults: defaults, Autoscaler: scaling})
}
