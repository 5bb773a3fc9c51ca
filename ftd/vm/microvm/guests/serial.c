#include "serial.h"

#include "boot.h"

#define SERIAL_THR 0x3f8
#define SERIAL_LSR 0x3fd
#define LSR_THR_EMPTY 0x20
#define READY_POLLS_MAX 1000

static int wait_ready(void)
{
    for (int polls = 0; polls < READY_POLLS_MAX; polls++) {
        if (port_read8(SERIAL_LSR) & LSR_THR_EMPTY)
            return 1;
        cpu_pause();
    }
    return 0;
}

void serial_write(const char *text)
{
    for (; *text != '\0' && wait_ready(); text++)
        port_write8(SERIAL_THR, (uint8_t)*text);
}
