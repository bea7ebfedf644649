/*
 * A process that looks like an engine's: any command line and title, and sockets that it was given.
 *
 * ACTOR_COMM is its title, ACTOR_LOG the file that tells who connected and what they asked, and
 * ACTOR_SOCKETS what it serves: "fd:port:path:file" for each socket, separated by ";". GET of the path is
 * answered with the file, all else with 404. It says that it is there by a line on standard output. With
 * ACTOR_WAITS it does not listen before SIGUSR1 comes.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define MAX_SOCKETS 16

struct served {
    int fd, port;
    char path[256], file[1024];
};

static struct served sockets[MAX_SOCKETS];
static int log_fd;

static void note(int port, const char *what) {
    char line[512];
    int length = snprintf(line, sizeof line, "%d %s\n", port, what);
    if (write(log_fd, line, (size_t)length) < 0) _exit(1);
}

static void send_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent <= 0) return;
        data += sent;
        size -= (size_t)sent;
    }
}

static void answer(int fd, const struct served *socket, const char *request) {
    static char page[1 << 20];
    char asked[512], head[128];
    snprintf(asked, sizeof asked, "GET %s HTTP/1.1", socket->path);
    int file = strcmp(asked, request) == 0 ? open(socket->file, O_RDONLY) : -1;
    ssize_t size = file < 0 ? 0 : read(file, page, sizeof page);
    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zd\r\n\r\n", file < 0 ? "404 Not Found" : "200 OK", size);
    send_all(fd, head, strlen(head));
    if (size > 0) send_all(fd, page, (size_t)size);
    if (file >= 0) close(file);
}

static void serve(const struct served *socket) {
    char request[8192] = "";
    size_t filled = 0;
    struct timeval patience = {5, 0};
    int fd = accept(socket->fd, NULL, NULL);
    if (fd < 0) return; /* another process that holds this socket was first */
    note(socket->port, "connected");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    while (filled < sizeof request - 1 && !strstr(request, "\r\n\r\n")) {
        ssize_t got = read(fd, request + filled, sizeof request - 1 - filled);
        if (got <= 0) break;
        filled += (size_t)got;
        request[filled] = '\0';
    }
    request[strcspn(request, "\r\n")] = '\0';
    note(socket->port, request);
    answer(fd, socket, request);
    shutdown(fd, SHUT_WR);
    close(fd);
}

static void wait_to_listen(int count) {
    int number;
    sigset_t awaited;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGUSR1);
    sigwait(&awaited, &number);
    for (int each = 0; each < count; each++) listen(sockets[each].fd, 8);
}

int main(void) {
    sigset_t blocked;
    struct pollfd polled[MAX_SOCKETS];
    int count = 0;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    prctl(PR_SET_NAME, getenv("ACTOR_COMM"));
    log_fd = open(getenv("ACTOR_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    for (char *part = strtok(strdup(getenv("ACTOR_SOCKETS")), ";"); part; part = strtok(NULL, ";"), count++) {
        struct served *socket = &sockets[count];
        if (sscanf(part, "%d:%d:%255[^:]:%1023s", &socket->fd, &socket->port, socket->path, socket->file) != 4) return 2;
        fcntl(socket->fd, F_SETFL, O_NONBLOCK);
        polled[count] = (struct pollfd){.fd = socket->fd, .events = POLLIN};
    }
    printf("%s %d\n", getenv("ACTOR_NAME"), (int)getpid());
    fflush(stdout);
    if (getenv("ACTOR_WAITS")) wait_to_listen(count);
    for (;;) {
        if (poll(polled, (nfds_t)count, -1) < 0) return 1;
        for (int each = 0; each < count; each++)
            if (polled[each].revents) serve(&sockets[each]);
    }
}
