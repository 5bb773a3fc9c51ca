/*
 * Echoer: a host of an IPv4 network that answers ARP, ping, and a chain of requests over UDP.
 *
 *     request            number (8 bytes, little-endian), payload (0 to 200 printable bytes)
 *     answer             kind (1 byte), number (8 bytes), hash (8 bytes)
 *       'A'  number = last + 1: chained now (chain.h)
 *       'D'  number <= last: chained before; its hash
 *       'G'  number <= last, and its record is not there any more; hash 0
 *       'E'  number > last + 1: the number that is expected, hash 0
 *
 * args[0] and args[1]: see chain.h. args[2]: its IPv4 address, first byte highest; args[3]: its UDP port, 7000
 * if 0. It makes its address known by one gratuitous ARP when it starts. Counters: [0] counts polls, [1] is
 * the last number, [2] counts frames that came.
 */
#include "boot.h"
#include "chain.h"
#include "net.h"
#include "serial.h"

#define ETHER_BYTES 14u
#define ARP_BYTES 28u
#define IPV4_BYTES 20u
#define ICMP_BYTES 8u
#define UDP_BYTES 8u
#define PAYLOAD_BYTES_MAX 200u
#define NUMBER_BYTES 8u
#define ANSWER_BYTES 17u
#define TYPE_ARP 0x0806u
#define TYPE_IPV4 0x0800u
#define PROTOCOL_ICMP 1
#define PROTOCOL_UDP 17
#define FRAGMENT 0x3fffu /* more to come, or an offset */

static uint8_t our_mac[MAC_BYTES];
static uint32_t our_address;
static uint32_t our_port;

static uint32_t get16(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 8 | bytes[1];
}

static uint32_t get32(const uint8_t *bytes)
{
    return get16(bytes) << 16 | get16(bytes + 2);
}

static void put16(uint8_t *bytes, uint32_t value)
{
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}

static void put32(uint8_t *bytes, uint32_t value)
{
    put16(bytes, value >> 16);
    put16(bytes + 2, value & 0xffff);
}

static uint64_t get64_little(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < 8; i++)
        value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

static void put64_little(uint8_t *bytes, uint64_t value)
{
    for (uint32_t i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
}

static void copy(uint8_t *to, const uint8_t *from, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        to[i] = from[i];
}

static uint32_t checksum(const uint8_t *bytes, uint32_t length)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i + 1 < length; i += 2)
        sum += get16(bytes + i);
    if (length % 2 != 0)
        sum += (uint32_t)bytes[length - 1] << 8;
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

static void address_frame(uint8_t *frame, const uint8_t *to)
{
    copy(frame, to, MAC_BYTES);
    copy(frame + MAC_BYTES, our_mac, MAC_BYTES);
}

static void send_arp(uint32_t operation, const uint8_t *to_mac, uint32_t to_address)
{
    static const uint8_t head[] = {0, 1, 8, 0, MAC_BYTES, 4};
    uint8_t frame[ETHER_BYTES + ARP_BYTES];
    uint8_t *arp = frame + ETHER_BYTES;

    address_frame(frame, to_mac);
    put16(frame + 12, TYPE_ARP);
    copy(arp, head, sizeof(head));
    put16(arp + 6, operation);
    copy(arp + 8, our_mac, MAC_BYTES);
    put32(arp + 14, our_address);
    copy(arp + 18, to_mac, MAC_BYTES);
    put32(arp + 24, to_address);
    net_write(frame, sizeof(frame));
}

static void handle_arp(const uint8_t *arp, uint32_t length)
{
    if (length >= ARP_BYTES && get16(arp + 6) == 1 && get32(arp + 24) == our_address)
        send_arp(2, arp + 8, get32(arp + 14));
}

/* Turns a packet that came around and sends it, with `payload_length` bytes behind its IPv4 header. */
static void reply(uint8_t *frame, uint32_t payload_length)
{
    uint8_t *ip = frame + ETHER_BYTES;
    uint8_t back[MAC_BYTES];

    copy(back, frame + MAC_BYTES, MAC_BYTES);
    address_frame(frame, back);
    put16(ip + 2, IPV4_BYTES + payload_length);
    ip[8] = 64;
    put16(ip + 10, 0);
    copy(ip + 16, ip + 12, 4);
    put32(ip + 12, our_address);
    put16(ip + 10, checksum(ip, IPV4_BYTES));
    net_write(frame, ETHER_BYTES + IPV4_BYTES + payload_length);
}

static void handle_icmp(uint8_t *frame, uint32_t length)
{
    uint8_t *icmp = frame + ETHER_BYTES + IPV4_BYTES;

    if (length < ICMP_BYTES || icmp[0] != 8 || icmp[1] != 0)
        return;
    icmp[0] = 0;
    put16(icmp + 2, 0);
    put16(icmp + 2, checksum(icmp, length));
    reply(frame, length);
}

static int is_payload(const uint8_t *bytes, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        if (bytes[i] < ' ' || bytes[i] > '~')
            return 0;
    return length <= PAYLOAD_BYTES_MAX;
}

static void answer(uint8_t *to, char kind, uint64_t number, uint64_t hash)
{
    to[0] = (uint8_t)kind;
    put64_little(to + 1, number);
    put64_little(to + 1 + NUMBER_BYTES, hash);
}

static void chain_request(uint8_t *to, uint64_t number, const uint8_t *payload, uint32_t length)
{
    uint64_t last = chain_last();

    if (number > last + 1) {
        answer(to, 'E', last + 1, 0);
    } else if (number == last + 1) {
        uint64_t hash = chain_append((const char *)payload, length);
        counters_of(0)[1] = number;
        answer(to, 'A', number, hash);
    } else {
        struct record record = chain_record(number);
        int kept = record.number == number;
        answer(to, kept ? 'D' : 'G', number, kept ? record.hash : 0);
    }
}

static void handle_udp(uint8_t *frame, uint32_t length)
{
    uint8_t *udp = frame + ETHER_BYTES + IPV4_BYTES;
    uint8_t *data = udp + UDP_BYTES;
    uint32_t from_port = get16(udp), udp_length = get16(udp + 4);
    uint64_t number;

    if (length < UDP_BYTES || get16(udp + 2) != our_port || udp_length < UDP_BYTES + NUMBER_BYTES ||
        udp_length > length)
        return;
    number = get64_little(data);
    if (number == 0 || !is_payload(data + NUMBER_BYTES, udp_length - UDP_BYTES - NUMBER_BYTES))
        return;
    chain_request(data, number, data + NUMBER_BYTES, udp_length - UDP_BYTES - NUMBER_BYTES);
    put16(udp, our_port);
    put16(udp + 2, from_port);
    put16(udp + 4, UDP_BYTES + ANSWER_BYTES);
    put16(udp + 6, 0); /* none: allowed over IPv4 */
    reply(frame, UDP_BYTES + ANSWER_BYTES);
}

static void handle_ipv4(uint8_t *frame, uint32_t length)
{
    uint8_t *ip = frame + ETHER_BYTES;
    uint32_t total;

    if (length < IPV4_BYTES || ip[0] != 0x45 || get32(ip + 16) != our_address || (get16(ip + 6) & FRAGMENT) != 0)
        return;
    total = get16(ip + 2);
    if (total < IPV4_BYTES || total > length)
        return;
    if (ip[9] == PROTOCOL_ICMP)
        handle_icmp(frame, total - IPV4_BYTES);
    else if (ip[9] == PROTOCOL_UDP)
        handle_udp(frame, total - IPV4_BYTES);
}

static void handle_frame(uint8_t *frame, uint32_t length)
{
    if (length < ETHER_BYTES)
        return;
    if (get16(frame + 12) == TYPE_ARP)
        handle_arp(frame + ETHER_BYTES, length - ETHER_BYTES);
    else if (get16(frame + 12) == TYPE_IPV4)
        handle_ipv4(frame, length - ETHER_BYTES);
}

void guest_main(uint64_t vcpu, const struct boot_block *boot)
{
    static const uint8_t everybody[MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    volatile uint64_t *counters = counters_of(0);
    uint8_t *frame;

    if (vcpu != 0 || boot->magic != BOOT_MAGIC)
        return;
    our_address = (uint32_t)boot->args[2];
    our_port = (uint32_t)arg_or(boot->args[3], 7000);
    if (chain_open(boot) != 0 || net_open(our_mac) != 0) {
        serial_write("echoer: no usable network, or its pages do not fit in memory\n");
        return;
    }
    send_arp(1, everybody, our_address);
    serial_write("echoer ready\n");
    for (;; counters[0]++) {
        uint32_t length = net_read(&frame);
        if (length == 0) {
            net_flush(); /* everything that had come is answered: one notification for all of it */
            cpu_pause();
        } else {
            counters[2]++;
            handle_frame(frame, length);
        }
    }
}
