# rackfs: `make help` lists what there is.
CC ?= gcc
PKGS = fuse3 libssh jansson libsystemd libarchive libcrypto zlib
BUILD ?= build
WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
       -Wno-unused-parameter -Wno-missing-field-initializers
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -DFUSE_USE_VERSION=314 $(WARN) \
	-Iinclude -Ibackend -I. $(shell pkg-config --cflags $(PKGS)) $(CFLAGS)
LIBS = $(shell pkg-config --libs $(PKGS)) -lpthread
SRC = $(wildcard backend/engine/*.c backend/host/*.c backend/drivers/*.c)
FS = $(wildcard fs/*.c)
OBJ = $(SRC:%.c=$(BUILD)/o/%.o)
FSOBJ = $(FS:%.c=$(BUILD)/o/%.o)

all: $(BUILD)/rackfs

$(BUILD)/o/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/librackfs.a: $(OBJ)
	rm -f $@ && ar rcs $@ $^

$(BUILD)/rackfs: $(FSOBJ) $(BUILD)/librackfs.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/tests/%: tests/%.c $(BUILD)/librackfs.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(BUILD)/librackfs.a $(LIBS)

clean:
	rm -rf $(BUILD)

.PHONY: all clean
-include $(OBJ:.o=.d) $(FSOBJ:.o=.d)
