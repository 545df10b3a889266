// The real libcurl module against a server that says exactly what it is told.
#include "oauth/http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>

#include "fakes.h"
#include "oauth/token_endpoint.h"
#include "raw_server.h"
#include "wrapping.h"

namespace authdb::oauth {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr const char* kOk =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

HttpRequest request_to(const RawServer& server) {
  HttpRequest request;
  request.url = server.url();
  request.body = Secret::copy_of("grant_type=refresh_token");
  request.headers.emplace_back("X-Token", Secret::copy_of("rt-1"));
  return request;
}

// What the server heard and what the client made of `answer`.
struct Exchange {
  std::string heard;
  Answer answer;
};
Exchange exchange(std::string_view says) {
  Exchange out;
  {
    RawServer server([&](Peer& peer) {
      out.heard = peer.read_request();
      peer.say(says);
    });
    out.answer = curl_transport()->perform(request_to(server), {});
  }
  return out;
}

std::string text(const Secret& secret) { return std::string(secret.reveal()); }

TEST(Http, RequestIsPlainHttp11WithoutAnythingWeDidNotAskFor) {
  const Exchange done = exchange(kOk);

  EXPECT_THAT(done.heard, StartsWith("POST /token HTTP/1.1\r\n"));
  EXPECT_THAT(done.heard, HasSubstr("\r\nX-Token: rt-1\r\n"));
  EXPECT_THAT(done.heard, HasSubstr("\r\nAccept: application/json\r\n"));
  EXPECT_THAT(done.heard, HasSubstr("\r\nUser-Agent: authdb/" AUTHDB_VERSION "\r\n"));
  EXPECT_THAT(done.heard, testing::EndsWith("\r\n\r\ngrant_type=refresh_token"));
  for (const char* header : {"Expect:", "Authorization:", "Cookie:", "Accept-Encoding:"}) {
    EXPECT_THAT(done.heard, Not(HasSubstr(header)));
  }
  EXPECT_EQ(done.answer.http_status, 200);
  EXPECT_EQ(text(done.answer.body), "{}");
  EXPECT_EQ(done.answer.content_type, "application/json");
  EXPECT_TRUE(done.answer.complete);
  EXPECT_EQ(done.answer.failure, "");
}

TEST(Http, LargeBodyIsSentWithoutWaitingForAContinue) {
  std::string heard;
  RawServer server([&](Peer& peer) {
    heard = peer.read_request();
    peer.say(kOk);
  });
  HttpRequest request = request_to(server);
  request.body = Secret::copy_of(std::string(3 << 20, 'x'));  // libcurl would ask from 1 MiB on

  EXPECT_EQ(curl_transport()->perform(request, {}).http_status, 200);
  EXPECT_THAT(heard, Not(HasSubstr("Expect:")));
}

TEST(Http, RequestsOwnHeadersReplaceOurs) {
  std::string heard;
  RawServer server([&](Peer& peer) {
    heard = peer.read_request();
    peer.say(kOk);
  });
  HttpRequest request = request_to(server);
  request.headers.emplace_back("User-Agent", Secret::copy_of("axios/1.7.9"));
  curl_transport()->perform(request, {});

  EXPECT_THAT(heard, HasSubstr("\r\nUser-Agent: axios/1.7.9\r\n"));
  EXPECT_THAT(heard, Not(HasSubstr("authdb/")));
}

TEST(Http, EachRequestHasItsOwnConnection) {
  RawServer server([](Peer& peer) {
    peer.read_request();
    peer.say("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}");
    peer.wait_for_close();
  });
  const auto http = curl_transport();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(http->perform(request_to(server), {}).http_status, 200);

  EXPECT_EQ(server.connections(), 3);
}

TEST(Http, RedirectIsAnAnswerAndNotFollowed) {
  const Exchange done =
      exchange("HTTP/1.1 307 Elsewhere\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n");

  EXPECT_EQ(done.answer.http_status, 307);
  EXPECT_TRUE(done.answer.complete);
}

TEST(Http, SentIsCalledOnceWhenTheConnectionStandsAndBeforeTheFirstByte) {
  std::atomic<int> heard{-1};
  int calls = 0;
  RawServer server([&](Peer& peer) {
    heard = static_cast<int>(peer.read_request().size());
    peer.say(kOk);
  });
  const Answer answer = curl_transport()->perform(request_to(server), [&] {
    ++calls;
    EXPECT_EQ(heard, -1);
    return true;
  });

  EXPECT_EQ(calls, 1);
  EXPECT_GT(heard, 0);
  EXPECT_EQ(answer.http_status, 200);
}

TEST(Http, NotAByteIsSentIfSentSaysNo) {
  std::string heard = "nothing yet";
  Answer answer;
  {
    RawServer server([&](Peer& peer) { heard = peer.read_request(); });
    answer = curl_transport()->perform(request_to(server), [] { return false; });
    server.wait_served(1);
  }

  EXPECT_EQ(heard, "");
  EXPECT_EQ(answer.http_status, 0);
  EXPECT_THAT(answer.failure, HasSubstr("withdrawn"));
}

TEST(Http, ThrowingSentIsANo) {
  std::string heard = "nothing yet";
  {
    RawServer server([&](Peer& peer) { heard = peer.read_request(); });
    curl_transport()->perform(request_to(server), []() -> bool { throw 1; });
    server.wait_served(1);
  }
  EXPECT_EQ(heard, "");
}

TEST(Http, SentIsNotCalledWithoutAConnection) {
  HttpRequest request;
  request.url = "http://127.0.0.1:1/";  // nobody listens there
  bool called = false;
  const Answer answer = curl_transport()->perform(request, [&] { return called = true; });

  EXPECT_FALSE(called);
  EXPECT_EQ(answer.http_status, 0);
  EXPECT_NE(answer.failure, "");
}

TEST(Http, EndlessBodyEndsAtTheDeadlineWithWhatArrived) {
  RawServer server([](Peer& peer) {
    peer.read_request();
    peer.say(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"refresh_token\":\"rt-2\"}");
    peer.wait_for_close();
  });
  HttpRequest request = request_to(server);
  request.deadline = Milliseconds{150};
  const Answer answer = curl_transport()->perform(request, {});

  EXPECT_EQ(answer.http_status, 200);
  EXPECT_FALSE(answer.complete);
  EXPECT_EQ(text(answer.body), "{\"refresh_token\":\"rt-2\"}");
  EXPECT_THAT(answer.failure, HasSubstr("deadline"));
}

TEST(Http, DrippingBodyDoesNotOutliveTheDeadline) {
  RawServer server([](Peer& peer) {
    peer.read_request();
    if (!peer.say("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")) return;
    while (peer.say(" ")) std::this_thread::yield();
  });
  HttpRequest request = request_to(server);
  request.deadline = Milliseconds{150};
  request.answer_cap = 1 << 26;
  const auto start = std::chrono::steady_clock::now();
  const Answer answer = curl_transport()->perform(request, {});

  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_GT(answer.body.size(), 0U);
}

TEST(Http, SilentServerIsGivenUpAtTheDeadline) {
  RawServer server([](Peer& peer) {
    peer.read_request();
    peer.wait_for_close();
  });
  HttpRequest request = request_to(server);
  request.deadline = Milliseconds{100};
  const Answer answer = curl_transport()->perform(request, {});

  EXPECT_EQ(answer.http_status, 0);
  EXPECT_FALSE(answer.complete);
}

TEST(Http, AnswerStopsAtTheCap) {
  RawServer server([](Peer& peer) {
    peer.read_request();
    peer.say("HTTP/1.1 200 OK\r\n\r\n");
    const std::string much(65536, ' ');
    while (peer.say(much)) {
    }
  });
  HttpRequest request = request_to(server);
  request.answer_cap = 100'000;
  const Answer answer = curl_transport()->perform(request, {});

  EXPECT_EQ(answer.body.size(), 100'000U);
  EXPECT_FALSE(answer.complete);
  EXPECT_THAT(answer.failure, HasSubstr("too large"));
}

TEST(Http, AnswerOfExactlyTheCapIsWhole) {
  RawServer server([](Peer& peer) {
    peer.read_request();
    peer.say(kOk);
  });
  HttpRequest request = request_to(server);
  request.answer_cap = 2;

  EXPECT_TRUE(curl_transport()->perform(request, {}).complete);
}

TEST(Http, CutAnswerIsNotComplete) {
  const Exchange body = exchange("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"a\"");
  EXPECT_EQ(body.answer.http_status, 200);
  EXPECT_FALSE(body.answer.complete);
  EXPECT_EQ(text(body.answer.body), "{\"a\"");

  const Exchange none = exchange("");
  EXPECT_EQ(none.answer.http_status, 0);
  EXPECT_FALSE(none.answer.complete);
  EXPECT_NE(none.answer.failure, "");
}

// Where only the end of the connection ends a body, a cut looks like its end.
TEST(Http, ABodyThatTheConnectionEndsIsCompleteOnlyIfItShowsItsEndItself) {
  const auto complete = [](const std::string& headers, const std::string& body) {
    return exchange("HTTP/1.1 200 OK\r\n" + headers + "\r\n" + body).answer.complete;
  };
  const std::string form = "access_token=at-2&refresh_token=rt-2";
  const std::string json = R"({"access_token":"at-2"})";

  EXPECT_FALSE(complete("", form));
  EXPECT_FALSE(complete("Connection: close\r\n", form));
  EXPECT_FALSE(complete("", "<html></html>"));
  EXPECT_FALSE(complete("", ""));
  EXPECT_FALSE(complete("", json.substr(0, 22)));
  EXPECT_FALSE(complete("", compressed(form).substr(0, 40)));
  EXPECT_TRUE(complete("", json));
  EXPECT_TRUE(complete("", "\xef\xbb\xbf" + json + "\n"));
  EXPECT_TRUE(complete("", compressed(json)));
  EXPECT_TRUE(complete("", compressed(form)));
  EXPECT_TRUE(complete("Content-Length: 36\r\n", form));
  for (const char* chunked : {"Transfer-Encoding: chunked\r\n", "transfer-encoding:Chunked \r\n"}) {
    EXPECT_TRUE(complete(chunked, "24\r\n" + form + "\r\n0\r\n\r\n")) << chunked;
  }
  EXPECT_FALSE(complete("Transfer-Encoding: chunked\r\n", "24\r\n" + form + "\r\n"));
}

TEST(Http, HalfARefreshTokenAtTheEndOfAConnectionIsNotStoredAsAWholeOne) {
  Provider provider;
  provider.id = "acme";
  const OAuthTokenEndpoint endpoint(
      {&provider, {}, nullptr, no_environment(), [] { return at_millis(0); }, nullptr});
  const auto judged = [&](const std::string& body) {
    return endpoint.judge(exchange("HTTP/1.1 200 OK\r\n\r\n" + body).answer);
  };

  const Judgement half = judged("access_token=at-2&refresh_token=rt-");
  EXPECT_EQ(half.ruling, Ruling::uncertain);
  EXPECT_FALSE(half.grant);

  const Judgement followed = judged("access_token=at-2&refresh_token=rt-2&scope=");
  ASSERT_EQ(followed.ruling, Ruling::granted);
  EXPECT_EQ(text(followed.grant->refresh_token), "rt-2");
}

TEST(Http, InformationalAnswerIsNoAnswer) {
  EXPECT_EQ(exchange("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n").answer.http_status, 0);
  EXPECT_EQ(exchange(std::string("HTTP/1.1 100 Continue\r\n\r\n") + kOk).answer.http_status, 200);
}

TEST(Http, ConnectionThatNeverStoodIsTriedForAgainAndOneThatStoodIsNot) {
  RawServer hangs_up([](Peer&) {});
  HttpRequest request = request_to(hangs_up);
  request.url = "https" + hangs_up.url().substr(4);  // the handshake is cut: nothing was sent
  bool sent = false;
  EXPECT_NE(curl_transport()->perform(request, [&] { return sent = true; }).failure, "");
  EXPECT_FALSE(sent);
  EXPECT_EQ(hangs_up.connections(), 3);

  RawServer listens([](Peer& peer) { peer.read_request(); });
  EXPECT_NE(curl_transport()->perform(request_to(listens), {}).failure, "");
  EXPECT_EQ(listens.connections(), 1);
}

TEST(Http, RetryAfterIsReadInBothForms) {
  const auto after = [](const std::string& headers) {
    return exchange("HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n" + headers + "\r\n")
        .answer.retry_after;
  };
  const std::string date = "Date: Tue, 19 May 2026 08:30:00 GMT\r\n";

  EXPECT_EQ(after("Retry-After: 7\r\n"), Seconds{7});
  EXPECT_EQ(after("retry-after:0\r\n"), Seconds{0});
  EXPECT_EQ(after(date + "Retry-After: Tue, 19 May 2026 08:31:30 GMT\r\n"), Seconds{90});
  EXPECT_EQ(after(date + "Retry-After: Tue, 19 May 2026 08:29:00 GMT\r\n"), Seconds{0});
  EXPECT_EQ(after("Retry-After: 99999999999999999999\r\n"), Seconds{86400});
  EXPECT_EQ(after("Retry-After: soon\r\n"), std::nullopt);
  EXPECT_EQ(after(""), std::nullopt);
}

TEST(Http, DateIsReadWhereItIsOne) {
  const auto time = [](const std::string& headers) {
    return exchange("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + headers + "\r\n")
        .answer.server_time;
  };

  EXPECT_EQ(time("Date: Tue, 19 May 2026 08:30:00 GMT\r\n"), at_millis(1'779'179'400'000));
  EXPECT_EQ(time("Date: this morning\r\n"), std::nullopt);
  EXPECT_EQ(time(""), std::nullopt);
}

TEST(Http, ProxyIsNeverUsedForLoopback) {
  ::setenv("http_proxy", "http://127.0.0.1:1", 1);
  const Exchange done = exchange(kOk);
  ::unsetenv("http_proxy");

  EXPECT_EQ(done.answer.http_status, 200);
  EXPECT_THAT(done.heard, StartsWith("POST /token "));
}

TEST(Http, P7_AProxysLoginIsInNoError) {
  HttpRequest request;
  request.url = "https://provider.example/token";
  for (const char* proxy : {"sock5://user:hunter2pass@proxy:1080", "user:hunter2pass@proxy:bad",
                            "http://user:hunter2 pass@proxy:1080"}) {
    for (const char* variable : {"https_proxy", "HTTPS_PROXY", "ALL_PROXY"}) {
      ::setenv(variable, proxy, 1);
      const Answer answer = curl_transport()->perform(request, {});
      ::unsetenv(variable);
      EXPECT_NE(answer.failure, "") << proxy;
      EXPECT_THAT(answer.failure, testing::Not(HasSubstr("hunter2"))) << proxy;
    }
  }
}

TEST(Http, HeaderThatWouldSplitTheRequestIsNotSent) {
  RawServer server([](Peer& peer) { peer.read_request(); });
  HttpRequest request = request_to(server);
  request.headers.emplace_back("X-Evil", Secret::copy_of("a\r\nX-Other: b"));

  EXPECT_NE(curl_transport()->perform(request, {}).failure, "");
  EXPECT_EQ(server.connections(), 0);
}

TEST(Http, UrlThatIsNoneIsRefusedWithoutAConnection) {
  for (const char* url : {"", "file:///etc/passwd", "ftp://127.0.0.1/", "http://u:p@127.0.0.1/"}) {
    HttpRequest request;
    request.url = url;
    EXPECT_NE(curl_transport()->perform(request, {}).failure, "") << url;
  }
}

TEST(Http, ServesSeveralThreadsAtOnce) {
  RawServer server([](Peer& peer) {
    peer.read_request();
    peer.say(kOk);
  });
  const auto http = curl_transport();
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { good += http->perform(request_to(server), {}).complete ? 1 : 0; });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(good, 4);
}

}  // namespace
}  // namespace authdb::oauth
