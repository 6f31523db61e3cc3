// A real kube-apiserver for tests, and nothing else of Kubernetes: the release's own command, from its Go module.
//
// testkit::cluster builds it once and keeps it; see there for the flags that it is started with.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	os.Exit(cli.Run(app.NewAPIServerCommand()))
}
