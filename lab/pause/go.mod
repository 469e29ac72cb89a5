module slipway.dev/lab/pause

go 1.21
