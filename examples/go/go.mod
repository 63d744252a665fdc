module example.org/llmd

go 1.19
