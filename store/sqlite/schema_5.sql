-- Minor step 5: two facts more of what a credential's journal knows.
-- Stored: never change a step that has been released; append the next one (store/CMakeLists.txt).

ALTER TABLE renewal ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;  -- its refresh token, for good
ALTER TABLE renewal ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;  -- an answer in the journal that
                                                                    -- the row could not take yet
