"""How applications record: calls, log records and requests become events, through failures and forks."""
