#!/bin/sh -e
# From a cluster with Helm to a client that has written, by what the group's Secret says. From the root of a clone.
helm install redis-operator deploy/chart --namespace redis-operator --create-namespace --wait
helm install my-redis deploy/chart-redis --set spec.password.generate=true
kubectl wait --for=condition=Ready redis/my-redis --timeout=120s
uri=$(kubectl get secret redis-my-redis-binding -o jsonpath='{.data.uri}' | base64 -d)
kubectl run client --image=redis:7-alpine --restart=Never -- redis-cli -u "$uri" SET greeting hello
kubectl wait --for=jsonpath='{.status.phase}'=Succeeded pod/client --timeout=60s
