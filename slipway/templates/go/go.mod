module services/sample-service

go 1.26
