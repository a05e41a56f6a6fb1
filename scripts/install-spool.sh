#!/bin/sh
# temporary
mkdir -p "$2"/tmp "$2"/lock "$2"/action/new "$2"/action/inflight "$2"/action/done "$2"/action/invalid "$2"/command/ready "$2"/command/inflight "$2"/command/returned "$2"/command/done
